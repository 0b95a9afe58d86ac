"""Recipes of other systems, read into a `Recipe`; each under its own names."""

from jaxsched.ports import yolov5 as yolov5
