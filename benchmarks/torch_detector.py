"""The detector example's network, loss and training step written in torch, for comparing their speed.

Written from the same description (YOLOv5 v6), for speed comparisons only: parity is tested against YOLOv5's own
numbers.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

ANCHORS = torch.tensor(
    [[[10, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]], [[116, 90], [156, 198], [373, 326]]]
)
STRIDES = (8, 16, 32)


class Conv(nn.Module):
    def __init__(self, inputs, outputs, size=1, stride=1, padding=None):
        super().__init__()
        padding = size // 2 if padding is None else padding
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    def __init__(self, channels, shortcut):
        super().__init__()
        self.cv1, self.cv2, self.shortcut = Conv(channels, channels), Conv(channels, channels, 3), shortcut

    def forward(self, x):
        y = self.cv2(self.cv1(x))
        return x + y if self.shortcut else y


class C3(nn.Module):
    def __init__(self, inputs, outputs, repeats, shortcut=True):
        super().__init__()
        half = outputs // 2
        self.cv1, self.cv2, self.cv3 = Conv(inputs, half), Conv(inputs, half), Conv(2 * half, outputs)
        self.m = nn.Sequential(*(Bottleneck(half, shortcut) for _ in range(repeats)))

    def forward(self, x):
        return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))


class SPPF(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.cv1, self.cv2 = Conv(inputs, inputs // 2), Conv(inputs * 2, outputs)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x):
        x = self.cv1(x)
        a = self.pool(x)
        b = self.pool(a)
        return self.cv2(torch.cat((x, a, b, self.pool(b)), 1))


class YOLOv5(nn.Module):
    def __init__(self, classes, depth, width):
        super().__init__()
        c1, c2, c3, c4, c5 = (math.ceil(c * width / 8) * 8 for c in (64, 128, 256, 512, 1024))
        r3, r6, r9 = (max(round(n * depth), 1) for n in (3, 6, 9))
        self.backbone = nn.ModuleList([
            Conv(3, c1, 6, 2, 2), Conv(c1, c2, 3, 2), C3(c2, c2, r3), Conv(c2, c3, 3, 2), C3(c3, c3, r6),
            Conv(c3, c4, 3, 2), C3(c4, c4, r9), Conv(c4, c5, 3, 2), C3(c5, c5, r3), SPPF(c5, c5),
        ])  # fmt: skip
        self.lateral5, self.up4 = Conv(c5, c4), C3(2 * c4, c4, r3, False)
        self.lateral4, self.up3 = Conv(c4, c3), C3(2 * c3, c3, r3, False)
        self.down3, self.out4 = Conv(c3, c3, 3, 2), C3(2 * c3, c4, r3, False)
        self.down4, self.out5 = Conv(c4, c4, 3, 2), C3(2 * c4, c5, r3, False)
        self.heads = nn.ModuleList(nn.Conv2d(c, 3 * (5 + classes), 1) for c in (c3, c4, c5))

    def forward(self, x):
        features = []
        for layer in self.backbone:
            x = layer(x)
            features.append(x)
        p3, p4 = features[4], features[6]
        top5 = self.lateral5(x)
        top4 = self.lateral4(self.up4(torch.cat((F.interpolate(top5, scale_factor=2), p4), 1)))
        out3 = self.up3(torch.cat((F.interpolate(top4, scale_factor=2), p3), 1))
        out4 = self.out4(torch.cat((self.down3(out3), top4), 1))
        out5 = self.out5(torch.cat((self.down4(out4), top5), 1))
        raw = []
        for head, feature in zip(self.heads, (out3, out4, out5), strict=True):
            n, _, h, w = feature.shape
            raw.append(head(feature).view(n, 3, -1, h, w).permute(0, 1, 3, 4, 2))
        return raw


def complete_iou(a, b, eps=1e-7):
    a_low, a_high, b_low, b_high = (
        a[:, :2] - a[:, 2:] / 2,
        a[:, :2] + a[:, 2:] / 2,
        b[:, :2] - b[:, 2:] / 2,
        b[:, :2] + b[:, 2:] / 2,
    )
    both = (torch.minimum(a_high, b_high) - torch.maximum(a_low, b_low)).clamp(0).prod(1)
    iou = both / (a[:, 2:].prod(1) + b[:, 2:].prod(1) - both + eps)
    hull = torch.maximum(a_high, b_high) - torch.minimum(a_low, b_low)
    distance = (a[:, :2] - b[:, :2]).square().sum(1) / (hull.square().sum(1) + eps)
    v = 4 / math.pi**2 * (torch.atan(b[:, 2] / b[:, 3]) - torch.atan(a[:, 2] / a[:, 3])).square()
    with torch.no_grad():
        alpha = v / (v - iou + (1 + eps))
    return iou - distance - v * alpha


def loss(raw, targets, gains):
    """`targets`: rows of (image, class, x, y, w, h)."""
    total = raw[0].new_zeros(())
    for level, balance, anchors, stride in zip(raw, (4.0, 1.0, 0.4), ANCHORS.to(raw[0].device), STRIDES, strict=True):
        level = level.float()
        _, _, rows, columns, _ = level.shape
        grid, anchors = level.new_tensor([columns, rows]), anchors / stride
        objectness = torch.zeros_like(level[..., 4])
        rows_ = targets[None].expand(3, -1, -1)
        which = torch.arange(3, device=level.device)[:, None].expand(-1, len(targets))
        ratio = rows_[..., 4:] * grid / anchors[:, None]
        fits = torch.maximum(ratio, 1 / ratio).amax(2) < gains.anchor_t
        t, which = rows_[fits], which[fits]
        centre = t[:, 2:4] * grid
        near, far = (centre % 1 < 0.5) & (centre > 1), ((grid - centre) % 1 < 0.5) & (grid - centre > 1)
        chosen = torch.stack([torch.ones_like(near[:, 0]), *near.T, *far.T])
        shift = level.new_tensor([[0, 0], [0.5, 0], [0, 0.5], [-0.5, 0], [0, -0.5]])[:, None].expand(-1, len(t), -1)[
            chosen
        ]
        t, which = t[None].expand(5, -1, -1)[chosen], which[None].expand(5, -1)[chosen]
        centre, size = t[:, 2:4] * grid, t[:, 4:] * grid
        cell = (centre - shift).long()
        column, row = cell[:, 0].clamp(0, columns - 1), cell[:, 1].clamp(0, rows - 1)
        if len(t):
            image, label = t[:, 0].long(), t[:, 1].long()
            at = level[image, which, row, column]
            p = at[:, :4].sigmoid()
            box = torch.cat((2 * p[:, :2] - 0.5, (2 * p[:, 2:]).square() * anchors[which]), 1)
            iou = complete_iou(box, torch.cat((centre - torch.stack((column, row), 1), size), 1))
            objectness[image, which, row, column] = iou.detach().clamp(0)
            hot = F.one_hot(label, at.shape[1] - 5).float()
            total = (
                total + gains.box * (1 - iou).mean() + gains.cls * F.binary_cross_entropy_with_logits(at[:, 5:], hot)
            )
        total = total + gains.obj * balance * F.binary_cross_entropy_with_logits(level[..., 4], objectness)
    return total * raw[0].shape[0]


class Trainer:
    """YOLOv5's loop around one batch: loss, gather, clip at 10, Nesterov SGD in three groups, average."""

    def __init__(self, model, gains, *, accumulate, amp):
        self.model, self.gains, self.accumulate, self.amp, self.count = model, gains, accumulate, amp, 0
        biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
        norms = [m.weight for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        special = {id(p) for p in biases + norms}
        weights = [p for p in model.parameters() if id(p) not in special]
        self.optimizer = torch.optim.SGD(
            [{"params": biases}, {"params": weights, "weight_decay": 5e-4}, {"params": norms}],
            lr=0.01, momentum=0.937, nesterov=True,
        )  # fmt: skip
        self.network = model  # torch.compile wraps `model` under other names
        self.average = {k: v.detach().clone() for k, v in model.state_dict().items()}

    def gradients(self, images, targets):
        device = images.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.amp):
            raw = self.model(images.to(torch.float32) / 255)
        loss(raw, targets, self.gains).backward()

    def update(self):
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        decay = 0.9999 * (1 - math.exp(-self.count / 2000))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                if value.dtype.is_floating_point:
                    self.average[name].mul_(decay).add_(value, alpha=1 - decay)

    def step(self, images, targets):
        self.gradients(images, targets)
        self.count += 1
        if self.count % self.accumulate == 0:
            self.update()
