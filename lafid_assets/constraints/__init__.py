"""Face constraints: decisions over stored face scores. Nothing here opens a video."""
