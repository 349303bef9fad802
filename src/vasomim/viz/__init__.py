"""Pictures, charts and pages from arrays and numbers; nothing here reads or writes a file."""

from vasomim.viz.charts import line_chart
from vasomim.viz.images import (
    ERROR_COLORS,
    VESSEL_COLOR,
    contact_sheet,
    error_map,
    fit_within,
    heat_overlay,
    mask_overlay,
    overlay,
    png_data_uri,
    to_rgb,
)
from vasomim.viz.pages import Html, html_charts, html_figure, html_gallery, html_legend, html_page, html_table

__all__ = [
    "ERROR_COLORS",
    "VESSEL_COLOR",
    "Html",
    "contact_sheet",
    "error_map",
    "fit_within",
    "heat_overlay",
    "html_charts",
    "html_figure",
    "html_gallery",
    "html_legend",
    "html_page",
    "html_table",
    "line_chart",
    "mask_overlay",
    "overlay",
    "png_data_uri",
    "to_rgb",
]
