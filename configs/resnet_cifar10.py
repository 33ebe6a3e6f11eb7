"""Residual network for small images.

Paper: He, Zhang, Ren & Sun, Deep Residual Learning for Image Recognition, 2016
Data: an image set of TFDS, CIFAR-10 by default, shifted and flipped as in the paper
Command: jaxdl train configs/resnet_cifar10.py
    jaxdl train configs/resnet_cifar10.py --epochs 12 --strategy pmap --cpu-devices 2
Time: a GPU's work; 12 epochs of 10,000 images take 7 min on 2 cores; 200 of 50,000 would take some 10 h
Expected: accuracy >= 91 % on CIFAR-10's test images (ResNet-20, 200 epochs of 50,000 training images); 62 %
    after 12 epochs of 10,000
"""

from functools import partial

from jaxdl import optim
from jaxdl.data import Batches, ImageSet, augment, images, num_classes, scaled
from jaxdl.learners import classifier
from jaxdl.nets.resnet import ResNet18, cifar_resnet
from jaxdl.train import Experiment, Options
from jaxdl.types import Array, Key

TINY = {"image_set": ImageSet("digits"), "depth": 8, "width": 4, "batch_size": 32, "epochs": 4}


def augmented(key: Key, example: dict[str, Array], flip: bool) -> dict[str, Array]:
    """Scale pixels, move the image by up to 4 pixels each way, and mirror every other one."""
    example = scaled(key, example)
    shift = partial(augment.random_crop, padding=4)
    change = augment.compose(shift, augment.random_flip) if flip else shift
    return {**example, "image": change(key, example["image"])}


def resnet_cifar10(
    image_set: ImageSet = ImageSet("cifar10"),
    depth: int = 20,
    width: int | None = None,
    flip: bool = True,
    remat: bool = False,
    learning_rate: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    batch_size: int = 128,
    epochs: int = 200,
    seed: int = 0,
    options: Options = Options(),
) -> Experiment:
    """Build the experiment.

    Args:
        image_set: what it learns.
        depth: 18, with 11 million parameters; or 6 n + 2 as in the paper's section 4.2, such as 20 with 0.27.
        width: channels of the first stage; the paper's, 64 or 16, by default.
        flip: whether training images are mirrored; digits should not be.
        remat: compute each block anew in the backward pass, to save memory.
        learning_rate: of SGD, at its peak; it falls along a cosine.
        momentum: of SGD.
        weight_decay: of convolution and dense kernels, added to their gradient.
        batch_size: examples in a step.
        epochs: passes over the training data.
        seed: of everything random.
        options: of the step.
    """
    splits = images(image_set)
    train = Batches(splits.train, batch_size, seed, partial(augmented, flip=flip))
    validation, test = (Batches(split, batch_size, seed, scaled) for split in splits[1:])
    steps = epochs * len(train) // batch_size
    classes = num_classes(train.source)
    net = ResNet18(classes) if depth == 18 else cifar_resnet(depth, classes)
    net = net.clone(remat=remat)
    if width is not None:
        net = net.clone(widths=tuple(width * 2**stage for stage in range(len(net.widths))))
    schedule = optim.warmup_cosine(learning_rate, steps, warmup=steps // 40)
    optimizer = optim.with_l2(weight_decay, optim.sgd(schedule, momentum=momentum))
    learner = classifier(net, optimizer, options=options)
    return Experiment(
        learner,
        steps,
        train,
        validation,
        test,
        monitor="accuracy",
        maximize=True,
        steps_per_call=1,
        seed=seed,
    )
