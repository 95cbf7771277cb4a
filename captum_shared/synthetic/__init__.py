"""A world with known answers: drawn images, a network that names their parts, neurons with known drivers."""
