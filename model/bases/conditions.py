"""What a base's transformer is given of pictures beside noise and text, as diffusers' own Wan pipelines give it.

Belongs here: these tensors, and the transformer's arguments that they become. Not here: encoding the pictures
(`encoding.condition_encoder`), and what our adapter adds to any base (the face, `face_branch.references`).

An image-to-video base reads the first frame: latents of a video that shows it and then nothing, a mask beside them, and CLIP's
rows of it where the base has an image branch. It draws the first frame anew, so every latent frame is noisy and in the loss.

A VACE base reads a control video, here one that says nothing: all of it is to be drawn. The person's picture is a latent frame
before the video, in the control and in what is drawn: the stock pipeline denoises it along with the video and throws it away,
so training draws it too, the clean picture being its target. It is always given, as FaithfulFaces gives the face to VACE, and
as the pipeline gives it to both of guidance's passes.
"""

from typing import NamedTuple

import torch


class Condition(NamedTuple):
    """What the pictures of a batch became."""

    control: torch.Tensor  # (B, C, T, h, w)  latents of what is known of the video, grey where nothing is
    image_embeds: torch.Tensor | None = None  # (B, rows, width)  CLIP's of the first frame
    picture: torch.Tensor | None = None  # (B, C, 1, h, w)  latents of the person's, VACE

    def to(self, device: torch.device) -> "Condition":
        """The same condition on `device`."""
        return Condition._make(None if part is None else part.to(device) for part in self)

    def cut(self, latent_frames: int) -> "Condition":
        """That of the same clips up to that many latent frames: Wan's VAE is causal, so nothing has to be encoded again."""
        return self._replace(control=self.control[:, :, :latent_frames])


def with_picture(video: torch.Tensor, condition: Condition | None) -> torch.Tensor:
    """The clean latents of all that a forward draws: the video (B, C, T, h, w), for VACE behind the person's picture."""
    if condition is None or condition.picture is None:
        return video
    return torch.cat([condition.picture, video], dim=2)


def image_to_video_inputs(noisy: torch.Tensor, condition: Condition, channels: int) -> dict[str, torch.Tensor | None]:
    """Arguments of an image-to-video transformer of `channels` channels in, for noisy latents (B, C, T, h, w)."""
    control = condition.control
    mask_channels = channels - noisy.shape[1] - control.shape[1]
    known = control.new_zeros(len(control), mask_channels, *control.shape[2:])
    known[:, :, 0] = 1
    return {"hidden_states": torch.cat([noisy, known, control], dim=1), "encoder_hidden_states_image": condition.image_embeds}


def vace_inputs(noisy: torch.Tensor, condition: Condition, channels: int) -> dict[str, torch.Tensor | None]:
    """Arguments of a VACE transformer of `channels` control channels, for noisy latents (B, C, T, h, w), `with_picture`.

    Raises:
        ValueError: the control is of another length; diffusers would pad a shorter one in silence.
    """
    pictures = 0 if condition.picture is None else condition.picture.shape[2]
    # What stays as it is, and what is to be drawn anew: of a video that says nothing both are grey.
    latents = torch.cat([condition.control, condition.control], dim=1)
    if condition.picture is not None:
        shown = torch.cat([condition.picture, torch.zeros_like(condition.picture)], dim=1)
        latents = torch.cat([shown, latents], dim=2)
    if latents.shape[2] != noisy.shape[2]:
        raise ValueError(
            f"{noisy.shape[2]} noisy latent frames beside {latents.shape[2]} of control: give both the picture, cut both alike"
        )
    to_draw = latents.new_ones(len(latents), channels - latents.shape[1], *latents.shape[2:])
    to_draw[:, :, :pictures] = 0
    return {"hidden_states": noisy, "control_hidden_states": torch.cat([latents, to_draw], dim=1)}
