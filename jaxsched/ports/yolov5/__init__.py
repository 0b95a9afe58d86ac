"""YOLOv5's optimizer and schedule, and those of its forks: every release from 3.0 on."""

from jaxsched.ports.yolov5._kind import KINDS as KINDS
from jaxsched.ports.yolov5._recipe import recipe as recipe
from jaxsched.ports.yolov5._versions import VERSIONS as VERSIONS
