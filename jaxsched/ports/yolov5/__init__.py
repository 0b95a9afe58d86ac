"""YOLOv5's optimizer and schedule, from a hyp.yaml, an opt.yaml or a run's folder, by release and fork."""

from jaxsched.ports.yolov5._recipe import KINDS as KINDS
from jaxsched.ports.yolov5._recipe import NOMINAL_BATCH as NOMINAL_BATCH
from jaxsched.ports.yolov5._recipe import recipe as recipe
from jaxsched.ports.yolov5._versions import FORKS as FORKS
from jaxsched.ports.yolov5._versions import RELEASES as RELEASES
