"""What runs by itself: sensors and schedules, all off until somebody switches them on."""
