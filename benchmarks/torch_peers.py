"""The workloads of speed.py in PyTorch: the same layers, sizes, losses and Adam, as its users write them."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F


class Residual(nn.Module):
    def __init__(self, before, features, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, features, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(features)
        self.conv2 = nn.Conv2d(features, features, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(features)
        self.shortcut = nn.Identity()
        if stride > 1 or before != features:
            projection = nn.Conv2d(before, features, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(features))

    def forward(self, x):
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


def resnet18(num_classes):
    layers, before = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()], 64
    for stage, features in enumerate((64, 128, 256, 512)):
        for block in range(2):
            layers.append(Residual(before, features, 2 if stage and not block else 1))
            before = features
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, num_classes))


def mlp(sizes, act=nn.ReLU):
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), act())]
    return nn.Sequential(*layers[:-1])


def cnn(num_classes):
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * 49, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, num_classes)),
    )


class VAE(nn.Module):
    def __init__(self, size, width, latent):
        super().__init__()
        self.hidden = nn.Linear(size, width)
        self.mean, self.log_std = nn.Linear(width, latent), nn.Linear(width, latent)
        self.decoder = mlp((latent, width, size))

    def forward(self, x):
        h = F.relu(self.hidden(x))
        mean, log_std = self.mean(h), self.log_std(h)
        logits = self.decoder(mean + log_std.exp() * torch.randn_like(mean))
        kl = 0.5 * (mean**2 + (2 * log_std).exp() - 1 - 2 * log_std).sum(-1)
        return (F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1) + kl).mean()


class LSTM(nn.Module):
    def __init__(self, vocabulary, width):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, 2, batch_first=True)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens):
        return self.head(self.lstm(self.embed(tokens))[0])


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    def __init__(self, vocabulary, context, layers, heads, width):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(0.02 * torch.randn(context, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens):
        x = self.embed(tokens) + self.positions[: tokens.shape[1]]
        return self.norm(self.blocks(x)) @ self.embed.weight.T


class RealNVP(nn.Module):
    def __init__(self, layers, width):
        super().__init__()
        self.nets = nn.ModuleList(mlp((1, width, width, 2)) for _ in range(layers))

    def forward(self, x):
        a, b, log_det = x[:, :1], x[:, 1:], 0
        for net in self.nets:
            log_scale, shift = net(a).chunk(2, -1)
            log_scale = 2 * torch.tanh(log_scale / 2)
            b = b * log_scale.exp() + shift
            log_det = log_det + log_scale.sum(-1)
            a, b = b, a
        z = torch.cat([a, b], -1)
        return -(log_det - 0.5 * (z**2 + 1.8378770664093453).sum(-1)).mean()


class MADE(nn.Module):
    def __init__(self, size, width):
        super().__init__()
        self.first, self.last, self.direct = (
            nn.Linear(size, width),
            nn.Linear(width, size),
            nn.Linear(size, size),
        )
        order, degree = torch.arange(size), torch.arange(width) % (size - 1)
        self.register_buffer("mask1", (order[None] <= degree[:, None]).float())
        self.register_buffer("mask2", (degree[None] < order[:, None]).float())
        self.register_buffer("mask3", (order[None] < order[:, None]).float())

    def forward(self, x):
        h = F.relu(F.linear(x, self.first.weight * self.mask1, self.first.bias))
        logits = F.linear(h, self.last.weight * self.mask2, self.last.bias)
        logits = logits + F.linear(x, self.direct.weight * self.mask3)
        return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1).mean()


def generator(latent, channels, widths):
    layers = [nn.Linear(latent, 16 * widths[0], bias=False), nn.Unflatten(1, (widths[0], 4, 4))]
    for before, after in zip(widths, [*widths[1:], channels], strict=True):
        layers += [nn.BatchNorm2d(before), nn.ReLU()]
        layers.append(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=after == channels))
    return nn.Sequential(*layers, nn.Sigmoid())


def discriminator(channels, widths):
    layers, before = [], channels
    for index, width in enumerate(widths):
        layers.append(nn.Conv2d(before, width, 4, 2, 1, bias=not index))
        layers += [nn.BatchNorm2d(width)] if index else []
        layers.append(nn.LeakyReLU(0.2))
        before = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * widths[-1], 1), nn.Flatten(0))


def adam(*modules):
    params = [param for module in modules for param in module.parameters()]
    return torch.optim.Adam(params, 1e-3, fused=True)


def trainer(loss, *modules):
    """A step of one player."""
    optimizer = adam(*modules)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()

    return step


def game(make, judge, real, latent):
    """A step of both players of a GAN."""
    optimizers = adam(judge), adam(make)

    def step():
        with torch.no_grad():
            fake = make(torch.randn(len(real), latent, device=real.device))
        optimizers[0].zero_grad(set_to_none=True)
        (F.softplus(-judge(real)).mean() + F.softplus(judge(fake)).mean()).backward()
        optimizers[0].step()
        optimizers[1].zero_grad(set_to_none=True)
        judge.requires_grad_(False)
        F.softplus(-judge(make(torch.randn(len(real), latent, device=real.device)))).mean().backward()
        judge.requires_grad_(True)
        optimizers[1].step()

    return step


def step_of(name, batch, sizes, wrap=lambda module: module):
    """Return a training step of a workload; `wrap` is torch.compile, or nothing."""
    if name == "dcgan":
        channels, widths, latent = batch["x"].shape[1], sizes["widths"], sizes["latent"]
        nets = generator(latent, channels, widths), discriminator(channels, widths[::-1])
        return game(*(wrap(net.to(memory_format=torch.channels_last)) for net in nets), batch["x"], latent)
    if name in ("vae", "realnvp", "made"):
        made = {
            "vae": lambda: VAE(batch["x"].shape[1], sizes["width"], sizes["latent"]),
            "realnvp": lambda: RealNVP(sizes["layers"], sizes["width"]),
            "made": lambda: MADE(batch["x"].shape[1], sizes["width"]),
        }[name]()
        net = wrap(made)
        return trainer(lambda: net(batch["x"]), made)
    made = {
        "mlp": lambda: nn.Sequential(nn.Flatten(), mlp((batch["x"][0].numel(), *sizes["hidden"], 10))),
        "cnn": lambda: cnn(10).to(memory_format=torch.channels_last),
        "resnet18": lambda: resnet18(10).to(memory_format=torch.channels_last),
        "lstm": lambda: LSTM(sizes["vocabulary"], sizes["width"]),
        **dict.fromkeys(
            ("transformer", "transformer350m"),
            lambda: Transformer(
                sizes["vocabulary"], batch["x"].shape[1], sizes["layers"], sizes["heads"], sizes["width"]
            ),
        ),
        "nerf": lambda: mlp((batch["x"].shape[-1], *sizes["hidden"], 4)),
    }[name]()
    net = wrap(made)
    if name == "nerf":
        return trainer(lambda: ((net(batch["x"]) - batch["y"]) ** 2).sum(-1).mean(), made)
    return trainer(lambda: F.cross_entropy(net(batch["x"]).flatten(0, -2), batch["y"].flatten()), made)
