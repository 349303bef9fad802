"""DICOM Segmentation objects of X-ray runs: one segment, one binary frame for each frame of the run, empty ones too.

Runs of X-ray projections have no frame of reference, so a segmentation cannot say where in space its frames lie. It is
tied to its source frame by frame instead: the frame's number stands in the derivation image, and the frames are ordered
by segment and temporal position. (The referenced frame number as a dimension would be legal, but readers fail on it.)
"""

from __future__ import annotations

import cv2
import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, SegmentationStorage

from vasomim._version import __version__
from vasomim.inference.derived import (
    RESEARCH,
    Software,
    Source,
    add_lossy_history,
    coded,
    derived_uid,
    refer,
    source_image,
    start_object,
    to_bytes,
)
from vasomim.types import BoolImage
from vasomim.viz.images import VESSEL_COLOR

_SEGMENTATION = Code("113076", "DCM", "Segmentation")


class BitPacker:
    """Masks to the pixels of a binary object: one bit a pixel, lowest bit first, frame after frame without a gap.

    Where a frame is no whole number of bytes, the next one starts inside a byte (PS3.5 8.1.1).
    """

    def __init__(self) -> None:
        self._packed = bytearray()
        self._rest = np.zeros(0, dtype=np.bool_)
        self.num_frames = 0

    def add(self, mask: BoolImage) -> None:
        """Append a frame, bool (H, W)."""
        bits = np.concatenate([self._rest, mask.ravel()])
        whole = len(bits) // 8 * 8
        self._packed += np.packbits(bits[:whole], bitorder="little").tobytes()
        self._rest = bits[whole:]
        self.num_frames += 1

    def content(self) -> bytes:
        """All frames so far, padded with zeros to an even number of bytes."""
        packed = bytes(self._packed) + np.packbits(self._rest, bitorder="little").tobytes()
        return packed + b"\0" * (len(packed) % 2)


def segmentation(masks: BitPacker, source: Source, software: Software) -> bytes:
    """A segmentation of a run as a DICOM file.

    Args:
        masks: one for each frame of the source, empty ones included.
        source: the run.
        software: what made the masks.

    Raises:
        ValueError: another number of masks than frames.
        DataError: the run has no UIDs to refer to.
    """
    if masks.num_frames != len(source.indices):
        raise ValueError(f"got {masks.num_frames} masks for {len(source.indices)} frames; give one for each frame")
    dataset = start_object(source, software, SegmentationStorage, "segmentation")
    dataset.Modality = "SEG"
    dataset.SeriesDescription = f"Vessels by vasomim, {RESEARCH}"
    dataset.SeriesNumber = 9001
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.ContentLabel = "VESSELS"
    dataset.ContentDescription = f"Vessels found automatically, {RESEARCH}"
    dataset.ContentCreatorName = ""
    refer(dataset, source)
    add_lossy_history(dataset, source)
    _add_pixels(dataset, masks, source)
    dataset.SegmentSequence = Sequence([_segment(software)])
    _add_dimensions(dataset)
    dataset.SharedFunctionalGroupsSequence = Sequence([Dataset()])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(
        [_frame_groups(source, index, position) for position, index in enumerate(source.indices, 1)]
    )
    return to_bytes(dataset, ExplicitVRLittleEndian)


def _add_pixels(dataset: Dataset, masks: BitPacker, source: Source) -> None:
    dataset.SegmentationType = "BINARY"
    dataset.SegmentsOverlap = "NO"
    dataset.NumberOfFrames = masks.num_frames
    dataset.Rows, dataset.Columns = source.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 1, 0
    dataset.PixelRepresentation = 0
    dataset.BurnedInAnnotation = "NO"  # a mask of vessels holds no text, whatever the frames hold
    dataset.add_new(Tag("PixelData"), "OB", masks.content())


def _segment(software: Software) -> Dataset:
    segment = Dataset()
    segment.SegmentNumber = 1
    segment.SegmentLabel = "Vessel"
    segment.SegmentDescription = f"Vessel filled with contrast, {RESEARCH}"
    segment.SegmentAlgorithmType = "AUTOMATIC"
    segment.SegmentAlgorithmName = f"vasomim {software.weights}"[:64]
    segment.SegmentedPropertyCategoryCodeSequence = Sequence([coded(codes.SCT.AnatomicalStructure)])
    segment.SegmentedPropertyTypeCodeSequence = Sequence([coded(codes.SCT.BloodVessel)])
    segment.SegmentationAlgorithmIdentificationSequence = Sequence([_algorithm(software)])
    segment.RecommendedDisplayCIELabValue = list(dicom_lab(VESSEL_COLOR))
    return segment


def _algorithm(software: Software) -> Dataset:
    item = Dataset()
    item.AlgorithmFamilyCodeSequence = Sequence([coded(codes.DCM.ArtificialIntelligence)])
    item.AlgorithmName = f"vasomim {software.weights}"[:64]
    item.AlgorithmVersion = f"{__version__} {software.fingerprint}"
    item.AlgorithmParameters = software.settings
    return item


def dicom_lab(color: tuple[int, int, int]) -> tuple[int, int, int]:
    """An sRGB colour 0-255 as CIELab in 16 bits (PS3.3 C.10.7.1.1): L from 0 to 100, a and b from -128 to 127."""
    rgb = np.array([[color]], dtype=np.float32) / 255
    light, a, b = (float(value) for value in cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[0, 0])
    return round(light / 100 * 65535), round((a + 128) / 255 * 65535), round((b + 128) / 255 * 65535)


def _add_dimensions(dataset: Dataset) -> None:
    """Frames are ordered by segment, then by their place in time."""
    organisation = derived_uid("dimensions", dataset.SOPInstanceUID)
    item = Dataset()
    item.DimensionOrganizationUID = organisation
    dataset.DimensionOrganizationSequence = Sequence([item])
    dataset.DimensionIndexSequence = Sequence(
        [
            _dimension(organisation, "SegmentNumber", "ReferencedSegmentNumber", "SegmentIdentificationSequence"),
            _dimension(organisation, "Temporal position", "TemporalPositionIndex", "FrameContentSequence"),
        ]
    )


def _dimension(organisation: UID, label: str, pointer: str, group: str) -> Dataset:
    item = Dataset()
    item.DimensionOrganizationUID = organisation
    item.DimensionIndexPointer = _tag(pointer)
    item.FunctionalGroupPointer = _tag(group)
    item.DimensionDescriptionLabel = label
    return item


def _tag(keyword: str) -> BaseTag:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return Tag(tag)


def _frame_groups(source: Source, index: int, position: int) -> Dataset:
    """The functional groups of the frame at `position`, from 1, which is frame `index`, from 0, of the run."""
    content = Dataset()
    content.TemporalPositionIndex = position
    content.DimensionIndexValues = [1, position]
    image = source_image(source, index)
    image.PurposeOfReferenceCodeSequence = Sequence([coded(codes.DCM.SourceImageForImageProcessingOperation)])
    image.SpatialLocationsPreserved = "YES"
    derivation = Dataset()
    derivation.DerivationCodeSequence = Sequence([coded(_SEGMENTATION)])
    derivation.SourceImageSequence = Sequence([image])
    segment = Dataset()
    segment.ReferencedSegmentNumber = 1
    groups = Dataset()
    groups.FrameContentSequence = Sequence([content])
    groups.DerivationImageSequence = Sequence([derivation])
    groups.SegmentIdentificationSequence = Sequence([segment])
    return groups
