"""Tiny products of Sentinel-2 as ESA packs them: .SAFE folders of JPEG 2000, with the metadata's structure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

FINEST = {"B02": 10, "B03": 10, "B04": 10, "B08": 10, "B05": 20, "B11": 20}


def metadata(
    *, level: str = "L2A", baseline: str = "05.10", day: str = "2020-07-01", offsets: dict[int, float] | None = None
) -> str:
    """The metadata of a product: only what is read, amid what is around it in real ones."""
    given = dict.fromkeys(range(13), -1000) if offsets is None else offsets
    tag, around, quantification = {
        "L2A": ("BOA_ADD_OFFSET", "BOA_ADD_OFFSET_VALUES_LIST", "BOA_QUANTIFICATION_VALUE"),
        "L1C": ("RADIO_ADD_OFFSET", "Radiometric_Offset_List", "QUANTIFICATION_VALUE"),
    }[level]
    listed = "".join(f'<{tag} band_id="{number}">{offset:g}</{tag}>' for number, offset in given.items())
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-{level[1:]}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{level[1:]}.xsd">
 <n1:General_Info>
  <Product_Info>
   <PRODUCT_START_TIME>{day}T10:15:59.024Z</PRODUCT_START_TIME>
   <PROCESSING_LEVEL>Level-{level[1:]}</PROCESSING_LEVEL>
   <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
   <Datatake datatakeIdentifier="GS2A"><SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME></Datatake>
  </Product_Info>
  <Product_Image_Characteristics>
   <Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX>
   </Special_Values>
   <Special_Values><SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX>
   </Special_Values>
   <QUANTIFICATION_VALUES_LIST>
    <{quantification} unit="none">10000</{quantification}>
    <AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE>
   </QUANTIFICATION_VALUES_LIST>
   {f"<{around}>{listed}</{around}>" if given else ""}
   <Spectral_Information_List><Spectral_Information bandId="3" physicalBand="B4"><RESOLUTION>10</RESOLUTION>
   </Spectral_Information></Spectral_Information_List>
  </Product_Image_Characteristics>
 </n1:General_Info>
</n1:Level-{level[1:]}_User_Product>
"""


def write_band(path: Path, numbers: np.ndarray, x: float, y: float, pixel: float) -> None:
    """Write a band's file, without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG", count=1, height=numbers.shape[0], width=numbers.shape[1], dtype="uint16",
        crs="EPSG:32632", transform=Affine(pixel, 0, x, 0, -pixel, y), QUALITY="100", REVERSIBLE="YES",
    ) as file:  # fmt: skip
        file.write(numbers.astype("uint16"), 1)


def make(
    folder: Path,
    numbers: dict[str, np.ndarray],
    *,
    level: str = "L2A",
    x: float = 500_000.0,
    y: float = 5_000_000.0,
    day: str = "2020-07-01",
    baseline: str = "05.10",
    offsets: dict[int, float] | None = None,
) -> Path:
    """Write a product: numbers (H, W) of each band at its finest resolution, and 0 in what is coarser."""
    date = day.replace("-", "")
    safe = folder / f"S2A_MSI{level}_{date}T101559_N{baseline.replace('.', '')}_R065_T32TMT_{date}T160000.SAFE"
    data = safe / "GRANULE" / f"{level}_T32TMT_A026247_{date}T102404" / "IMG_DATA"
    for band, pixels in numbers.items():
        name, metres = f"T32TMT_{date}T101559_{band}", FINEST[band]
        if level == "L1C":
            write_band(data / f"{name}.jp2", pixels, x, y, metres)
            continue
        write_band(data / f"R{metres}m" / f"{name}_{metres}m.jp2", pixels, x, y, metres)
        write_band(data / "R60m" / f"{name}_60m.jp2", np.zeros_like(pixels), x, y, 60)
    text = metadata(level=level, baseline=baseline, day=day, offsets=offsets)
    (safe / f"MTD_MSI{level}.xml").write_text(text, encoding="utf-8")
    return safe
