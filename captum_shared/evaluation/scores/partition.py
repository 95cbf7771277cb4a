"""Whether components come apart into the parts that two images share."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def partition_agreement(
    image_maps: Float[Tensor, "component height width"],
    reference_maps: Float[Tensor, "component height width"],
    regions: Bool[Tensor, "2 part height width"],
) -> float:
    """Compare the strongest component at every pixel of the shared parts with the part: the adjusted Rand index.

    A component has to be the same part in both images: pixels of both count in one comparison.

    Args:
        image_maps: of every component, not negative.
        reference_maps: of the same components.
        regions: the parts in image and reference; what is in none does not count.

    Returns:
        1 if every part has a component of its own, 0 in the mean for a partition by chance, or if there is but one
        component; also if there is none.

    Example:
        >>> top = torch.tensor([[True, True], [False, False]])
        >>> parts = torch.stack([top, ~top])
        >>> partition_agreement(parts.float(), parts.flip(0).float(), torch.stack([parts, parts.flip(0)]))
        1.0
        >>> partition_agreement(parts.float(), parts.float(), torch.stack([parts, parts.flip(0)])) < 0
        True
    """
    from sklearn.metrics import adjusted_rand_score  # slow to import

    if not len(image_maps):
        return 0.0
    labels = torch.stack([image_maps.argmax(0), reference_maps.argmax(0)])
    truth = torch.cat([torch.full_like(labels[region], part) for part, region in enumerate(regions.unbind(1))])
    found = torch.cat([labels[region] for region in regions.unbind(1)])
    return float(adjusted_rand_score(truth.cpu().numpy(), found.cpu().numpy()))
