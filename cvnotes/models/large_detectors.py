"""SSD300 and RetinaNet as `cvnotes.train` takes its detectors: the networks of the papers, with their published names.

What they should say and how wrong they are, they share with the small detectors; matching, mining and the losses are
those of the chapters. They want images in which there is more to see than in generated scenes, weights of a
classifier to start from, and a GPU.
"""

from torch import nn

from cvnotes.focal_loss.fast import retinanet_anchors
from cvnotes.models import retinanet_resnet50_fpn, ssd300_vgg16
from cvnotes.models.small_detectors import AfterRetinaNet, AfterSSD


def _colours(x):
    """Return images of about −2 to 2 as the networks of the papers take them, from 0 to 1; see `train.batch_of`."""
    return (64 * x + 127.5) / 255


class LargeSSD(AfterSSD):
    """SSD300: 8,732 default boxes on images of 300 × 300 pixels."""

    OPTIONS = ()

    def __init__(self, num_classes, image_size=ssd300_vgg16.SIZE):
        if image_size != ssd300_vgg16.SIZE:
            raise ValueError(f"`image_size` (={image_size}) must be {ssd300_vgg16.SIZE}, for which SSD300 is made")
        super().__init__(num_classes, image_size, image_size)
        self.network = ssd300_vgg16.SSD300(num_classes + 1)
        self.lay_out(ssd300_vgg16.default_boxes())

    def forward(self, x):
        self.check(x)
        return tuple(self.network.outputs(_colours(x)))

    def start_from(self, state_dict):
        """Take over the weights of a VGG16 that was trained to classify."""
        self.network.start_from_vgg16(state_dict)


class LargeRetinaNet(AfterRetinaNet):
    """RetinaNet on ResNet-50, on square images.

    - image_size: a multiple of 32, to which the network would fill up others
    - loss, prior: of `AfterRetinaNet`
    """

    OPTIONS = ("loss", "prior")

    def __init__(self, num_classes, image_size=512, loss="focal", prior=0.01):
        super().__init__(num_classes, image_size, loss, prior)
        if image_size % 32:
            raise ValueError(f"`image_size` (={image_size}) must be a multiple of 32")
        self.network = retinanet_resnet50_fpn.RetinaNet(num_classes)
        nn.init.constant_(self.network.head.classification_head.cls_logits.bias, self.bias)
        self.lay_out(retinanet_anchors(image_size, rounded=True))

    def forward(self, x):
        self.check(x)
        return tuple(self.network.outputs(_colours(x))[:2])

    def start_from(self, state_dict):
        """Take over the weights of a ResNet-50 that was trained to classify."""
        self.network.start_from_resnet50(state_dict)


DETECTORS = {"ssd": LargeSSD, "retinanet": LargeRetinaNet}
