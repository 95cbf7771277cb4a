"""The function that shared-feature maps attribute."""

from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from captum_shared.attr.similarity import NeuronSimilarity


@final
class SharedProjection(nn.Module):
    r"""The function whose maps are the shared-feature maps: with the shared weights h held constant,

    .. math:: g(x, r) = h \cdot f(x) + h \cdot f(r)

    Its gradient is (J_f(x)ᵀ h, J_f(r)ᵀ h). Measures such as ``captum.metrics.infidelity`` have to be taken against
    it, with ``additional_forward_args=h``: the similarity s itself has another gradient.

    Args:
        similarity: the twins.

    Example:
        >>> import torch
        >>> from captum_shared.neurons.readout import LinearReadout
        >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout.uniform(3))
        >>> image = torch.tensor([[[1.0, 2.0, 2.0]]])
        >>> h = similarity.shared_weights(image, image)
        >>> SharedProjection(similarity)(image, image, h)
        tensor([3.7778])
    """  # noqa: D415

    def __init__(self, similarity: NeuronSimilarity) -> None:
        super().__init__()
        self.similarity = similarity

    def forward(
        self, images: Tensor, references: Tensor, weights: Float[Tensor, "image feature"]
    ) -> Float[Tensor, " image"]:
        """Compute g.

        Args:
            images: inputs x of the encoder.
            references: as many inputs r.
            weights: the shared weights h of each pair.

        Returns:
            One number a pair.
        """
        image_features, reference_features = self.similarity.latent_features(images, references)
        return (weights * (image_features + reference_features)).sum(1)
