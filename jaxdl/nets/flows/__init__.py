"""Normalizing flows: layers with `forward_and_log_det` and `inverse_and_log_det`, and flows made of them."""

from jaxdl.nets.flows.autoregressive import Autoregressive
from jaxdl.nets.flows.bijector import Bijector, Chain, Flat, Inverse, Reverse
from jaxdl.nets.flows.conditional import Conditioned, ImageEncoder, Paired, c_flow
from jaxdl.nets.flows.continuous import Continuous, VectorField, continuous
from jaxdl.nets.flows.coupling import (
    CheckerboardCoupling,
    ConvConditioner,
    Coupling,
    DenseConditioner,
    Injector,
    ResidualConditioner,
)
from jaxdl.nets.flows.elementwise import Elementwise, additive, affine, spline
from jaxdl.nets.flows.glow import ActNorm, InvertibleConv
from jaxdl.nets.flows.image import Half, Squeezed, glow, image_real_nvp, squeeze, unsqueeze
from jaxdl.nets.flows.vector import Scaling, iaf, maf, nice, real_nvp, spline_flow

__all__ = [
    "ActNorm",
    "Autoregressive",
    "Bijector",
    "Chain",
    "CheckerboardCoupling",
    "Conditioned",
    "Continuous",
    "ConvConditioner",
    "Coupling",
    "DenseConditioner",
    "Elementwise",
    "Flat",
    "Half",
    "ImageEncoder",
    "Injector",
    "Inverse",
    "InvertibleConv",
    "Paired",
    "ResidualConditioner",
    "Reverse",
    "Scaling",
    "Squeezed",
    "VectorField",
    "additive",
    "affine",
    "c_flow",
    "continuous",
    "glow",
    "iaf",
    "image_real_nvp",
    "maf",
    "nice",
    "real_nvp",
    "spline",
    "spline_flow",
    "squeeze",
    "unsqueeze",
]
