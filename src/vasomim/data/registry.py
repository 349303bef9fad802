"""Public X-ray angiogram data sets by name: whose they are, how to get them, and what should lie on disk.

Nothing here is guessed: what could not be confirmed (a licence, a hash, a size) is None, and is shown as unknown.
Counts and layouts are those of the publishers' own pages and papers, or of public code that reads the files.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from vasomim.errors import MisuseError


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Files that belong to a data set, below its root."""

    pattern: str
    """Shell pattern of their paths, `**` for folders at any depth."""
    count: int | None = None
    """How many there are; None where that is unknown."""
    what: str
    """What they are, in a few words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """One way a data set lies on disk."""

    name: str
    parts: tuple[Part, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    """Pairs of folders that must hold the same names, suffix aside."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A file that can be fetched without logging in."""

    url: str
    file: str
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None
    """In bytes, where it is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetCard:
    """What is known of a data set."""

    name: str
    title: str
    frames: str
    labels: str
    licence: str | None
    """As the publisher states it; None where none is stated, which is not the same as free."""
    citation: str
    page: str
    """Where people read about it."""
    obtain: str
    """How to get it, in a sentence."""
    archives: tuple[Archive, ...] = ()
    """Files that `download` fetches; empty where it cannot."""
    figshare: int | None = None
    """Article of figshare.com whose files, sizes and md5 its public interface lists."""
    size: str | None = None
    """About how much there is to fetch."""
    layouts: tuple[Layout, ...] = ()
    reader: str
    """What of vasomim reads it, and what does not."""

    @property
    def downloadable(self) -> bool:
        """Whether `download` knows an address."""
        return bool(self.archives) or self.figshare is not None


def _frames_and_masks(count: int | None = None) -> Layout:
    """The layout that `open_labelled` reads, for sets whose own layout it does not."""
    return Layout(
        name="frames and masks",
        parts=(
            Part(pattern="**/images/*", count=count, what="frames"),
            Part(pattern="**/masks/*", count=count, what="masks of the whole vessel tree"),
        ),
        pairs=(("images", "masks"),),
    )


def _arcade_parts(task: str) -> tuple[Part, ...]:
    return tuple(
        part
        for split, count in (("train", 1000), ("val", 200), ("test", 300))
        for part in (
            Part(pattern=f"{task}/{split}/images/*.png", count=count, what=f"frames of {task}, {split}"),
            Part(pattern=f"{task}/{split}/annotations/*.json", count=1, what=f"COCO polygons of {task}, {split}"),
        )
    )


ARCADE = DatasetCard(
    name="arcade",
    title="ARCADE: Automatic Region-based Coronary Artery Disease diagnostics (MICCAI 2023)",
    frames="2 tasks of 1000 + 200 + 300 frames, 512 x 512, 8 bits",
    labels="polygons: 25 SYNTAX segments (task syntax), stenoses (task stenosis)",
    licence="CC0-1.0",
    citation="Popov et al., Dataset for Automatic Region-based Coronary Artery Disease Diagnostics Using X-Ray "
    "Angiography Images, Scientific Data 11:20, 2024, doi:10.1038/s41597-023-02871-z",
    page="https://zenodo.org/records/10390295",
    obtain="vasomim datasets --download arcade --out FOLDER",
    archives=(
        Archive(
            url="https://zenodo.org/records/10390295/files/arcade.zip",
            file="arcade.zip",
            sha256="a396cdea7c92c55dc97bbf3dd8e3df517d76872b289a8bcb45513bdb3350837f",
            md5="c5b1973ade06f7dff210f878161e1a76",
        ),
    ),
    size="about 450 MB",
    layouts=(Layout(name="official", parts=(*_arcade_parts("syntax"), *_arcade_parts("stenosis"))),),
    reader="each split is a set of its own: open_labelled(arcade/syntax/train); stenosis gives frames and boxes",
)

XCAD = DatasetCard(
    name="xcad",
    title="XCAD: X-ray angiography coronary artery disease (Self-Supervised Vessel Segmentation)",
    frames="1621 unlabelled and 126 labelled frames, 512 x 512",
    labels="pixel masks of the whole tree for the 126",
    licence=None,
    citation="Ma et al., Self-Supervised Vessel Segmentation via Adversarial Learning, ICCV 2021",
    page="https://github.com/AISIGSJTU/SSVS",
    obtain="follow the Dropbox or Baidu link on the page; a personal share, so vasomim does not fetch it",
    size="about 454 MB",
    layouts=(
        Layout(
            name="official",
            parts=(
                Part(pattern="test/images/*", count=126, what="labelled frames"),
                Part(pattern="test/masks/*", count=126, what="masks of the whole vessel tree"),
                Part(pattern="train/**/*.png", what="unlabelled frames, and backgrounds in trainC"),
            ),
            pairs=(("images", "masks"),),
        ),
        _frames_and_masks(126),
    ),
    reader="open_labelled(XCAD/test); for pre-training name the folders of angiograms below XCAD/train one by one, as "
    "trainC holds backgrounds without vessels",
)

DCA1 = DatasetCard(
    name="dca1",
    title="DCA1: database X-ray coronary angiograms (CIMAT)",
    frames="134 frames, 300 x 300, 8 bits",
    labels="pixel masks of the whole tree",
    licence=None,
    citation="Cervantes-Sanchez et al., Automatic Segmentation of Coronary Arteries in X-ray Angiograms using "
    "Multiscale Analysis and Artificial Neural Networks, Applied Sciences 9(24):5507, 2019, doi:10.3390/app9245507",
    page="http://personal.cimat.mx:8181/~ivan.cruz/DB_Angiograms.html",
    obtain="vasomim datasets --download dca1 --out FOLDER (plain HTTP; the hash is known and checked)",
    archives=(
        Archive(
            url="http://personal.cimat.mx:8181/~ivan.cruz/DB_Angiograms_files/DB_Angiograms_134.zip",
            file="DB_Angiograms_134.zip",
            sha256="7161638a6e92c6a6e47a747db039292c8a1a6bad809aac0d1fd16a10a6f22a11",
        ),
    ),
    size="about 9 MB",
    layouts=(
        Layout(
            name="official",
            parts=(
                Part(pattern="*[0-9].pgm", count=134, what="frames"),
                Part(pattern="*_gt.pgm", count=134, what="masks of the whole vessel tree"),
            ),
        ),
        _frames_and_masks(134),
    ),
    reader="frames and masks share a folder: `vasomim datasets FOLDER --arrange dca1 --out NEW` parts them, then "
    "open_labelled(NEW)",
)

XCAV = DatasetCard(
    name="xcav",
    title="XCAV, also XACV: X-ray angiography coronary videos (DeNVeR)",
    frames="cine runs by patient; 175 + 46 labelled frames are used in the VasoMIM papers",
    labels="pixel masks of single frames, vessels and catheter apart",
    licence=None,
    citation="Wu et al., DeNVeR: Deformable Neural Vessel Representations for Unsupervised Video Vessel Segmentation, "
    "CVPR 2025, arXiv:2406.01591",
    page="https://kirito878.github.io/DeNVeR/",
    obtain="follow the Google Drive link on the page; a personal share, so vasomim does not fetch it",
    layouts=(
        Layout(
            name="official",
            parts=(
                Part(pattern="CVAI-*/images/*/*.png", what="frames of cine runs"),
                Part(pattern="CVAI-*/ground_truth/*/*.png", what="masks; folders ending in CATH show the catheter"),
            ),
        ),
        _frames_and_masks(),
    ),
    reader="frames by open_frames; `vasomim datasets FOLDER --arrange xcav --out NEW` takes the labelled frames with "
    "their vessel masks and patients, then open_labelled(NEW)",
)

CADICA = DatasetCard(
    name="cadica",
    title="CADICA: coronary artery disease in invasive coronary angiography",
    frames="668 videos of 42 patients, 512 x 512 PNG; 382 videos are selected",
    labels="boxes of lesions with their grade, for key frames of selected videos",
    licence="CC BY 4.0",
    citation="Jiménez-Partinen et al., CADICA: a new dataset for coronary artery disease detection by using invasive "
    "coronary angiography, Expert Systems 41(12):e13708, 2024, arXiv:2402.00570; data doi:10.17632/p9bpx9ctcv",
    page="https://data.mendeley.com/datasets/p9bpx9ctcv",
    obtain="vasomim datasets --download cadica --out FOLDER",
    archives=(
        Archive(
            url="https://data.mendeley.com/public-files/datasets/p9bpx9ctcv/files/3d00fcc4-e555-47e8-bf7d-fa39aa4bf56e/"
            "file_downloaded",
            file="CADICA.zip",
        ),
    ),
    size="about 2.9 GB",
    layouts=(
        Layout(
            name="official",
            parts=(
                Part(pattern="selectedVideos/p*/v*/input/*.png", what="frames of selected videos"),
                Part(pattern="selectedVideos/p*/v*/groundtruth/*.txt", what="boxes of lesions"),
                Part(pattern="selectedVideos/p*/", count=42, what="patients"),
                Part(pattern="nonselectedVideos/**/*.png", what="frames of the other videos"),
                Part(pattern="metadata.xlsx", count=1, what="patients' data"),
            ),
        ),
    ),
    reader="frames by open_frames; `vasomim datasets FOLDER --arrange cadica --out NEW` takes the frames with boxes, "
    "and patients. Frames of one patient are alike: split by patient",
)

SYNTAX = DatasetCard(
    name="syntax",
    title="X-ray angiography images and SYNTAX score dataset",
    frames="images of 231 patients; 2943 frames are used in XA-170K",
    labels="SYNTAX scores, no masks",
    licence=None,
    citation="Mahmoudi et al., X-ray Coronary Angiogram images and SYNTAX score to develop Machine-Learning algorithms "
    "for CHD Diagnosis, Scientific Data 12:471, 2025",
    page="https://figshare.com/articles/dataset/X-Ray_Angiography_Images_and_SYNTAX-Score_Dataset/25801447",
    obtain="vasomim datasets --download syntax --out FOLDER",
    figshare=25801447,
    layouts=(Layout(name="any", parts=(Part(pattern="**/*", what="files, in a layout unknown to us"),)),),
    reader="frames by open_frames, whatever their folders",
)

CORONARY_DOMINANCE = DatasetCard(
    name="coronarydominance",
    title="CoronaryDominance: angiogram dataset for coronary dominance classification",
    frames="1574 studies of multi-view videos, 512 x 512; 160,320 frames are used in XA-170K",
    labels="left or right dominance, quality tags; no masks",
    licence="CC0-1.0",
    citation="Kruzhilov et al., CoronaryDominance: Angiogram dataset for coronary dominance classification, Scientific "
    "Data 12:341, 2025, doi:10.1038/s41597-025-04676-8; data doi:10.57967/hf/4360",
    page="https://huggingface.co/datasets/BearSubj13/CoronaryDominance",
    obtain="download the four .7z archives from the page (huggingface-cli) and unpack them with 7z",
    size="88.6 GB in four .7z archives",
    layouts=(
        Layout(
            name="unpacked",
            parts=(Part(pattern="**/*.npz", what="videos as NumPy arrays, in a layout unknown to us"),),
        ),
        Layout(name="frames", parts=(Part(pattern="**/*.png", what="frames saved from the videos"),)),
    ),
    reader="not the .npz files: save their frames as PNG, then open_frames; or take XA-170K, which holds them as PNG",
)

DANILOV = DatasetCard(
    name="danilov",
    title="Angiographic dataset for stenosis detection (Danilov et al., Kemerovo)",
    frames="8325 frames (of 100 patients, says the paper), 512 to 1000 px squares, BMP",
    labels="boxes of stenoses, Pascal VOC XML",
    licence="CC BY 4.0",
    citation="Danilov et al., Real-time coronary artery stenosis detection based on modern neural networks, Scientific "
    "Reports 11:7582, 2021, doi:10.1038/s41598-021-87174-2; data doi:10.17632/ydrm75xywg",
    page="https://data.mendeley.com/datasets/ydrm75xywg",
    obtain="vasomim datasets --download danilov --out FOLDER",
    archives=(
        Archive(
            url="https://data.mendeley.com/public-files/datasets/ydrm75xywg/files/61f788d6-65ce-4265-a23a-5ba16931d18b/"
            "file_downloaded",
            file="stenosis_detection.zip",
        ),
    ),
    layouts=(
        Layout(
            name="official",
            parts=(
                Part(pattern="**/dataset/*.bmp", count=8325, what="frames"),
                Part(pattern="**/dataset/*.xml", count=8325, what="boxes of stenoses"),
            ),
        ),
        Layout(
            name="frames and boxes.csv",
            parts=(
                Part(pattern="images/*", count=8325, what="frames"),
                Part(pattern="boxes.csv", count=1, what="boxes and patients"),
            ),
        ),
    ),
    reader="frames by open_frames; `vasomim datasets FOLDER --arrange danilov --out NEW` brings boxes and patients "
    "into boxes.csv. Frames of one patient are near-identical: split by patient",
)

_XA_COUNTS = {"cadica": 6594, "syntax": 2943, "xcad": 1621, "coronarydominance": 160320}

XA_170K = DatasetCard(
    name="xa-170k",
    title="XA-170K: the pre-training corpus of VasoMIM",
    frames="171,478 frames: " + ", ".join(f"{count} of {name}" for name, count in _XA_COUNTS.items()),
    labels="none; *_frangi/ holds extracted vessels, for pre-training alone",
    licence=None,
    citation="Huang et al., Vascular Anatomy-aware Self-supervised Pre-training for X-ray Angiogram Analysis, "
    "arXiv:2602.11536, 2026; and the four sources: cadica, syntax, xcad, coronarydominance",
    page="https://huggingface.co/datasets/waha2000huang/XA-170K",
    obtain="download it from the page (for instance with huggingface-cli)",
    layouts=(
        Layout(
            name="official",
            parts=tuple(
                part
                for name, count in _XA_COUNTS.items()
                for part in (
                    Part(pattern=f"{name}/*", count=count, what=f"frames of {name}"),
                    Part(pattern=f"{name}_frangi/*", count=count, what=f"extracted vessels of {name}"),
                )
            ),
            pairs=tuple((name, f"{name}_frangi") for name in _XA_COUNTS),
        ),
    ),
    reader="open_frames(XA-170K) takes the frames and leaves *_frangi/ aside; --vessels XA-170K takes those as "
    "extracted vessels. CC0 and CC BY for two of its sources; the others state no licence",
)

DATASETS: dict[str, DatasetCard] = {
    card.name: card for card in (ARCADE, XCAD, DCA1, XCAV, CADICA, SYNTAX, CORONARY_DOMINANCE, DANILOV, XA_170K)
}


def dataset_named(name: str) -> DatasetCard:
    """The card of a data set.

    Raises:
        MisuseError: there is none of that name; the nearest is named.
    """
    card = DATASETS.get(name.lower())
    if card is None:
        near = difflib.get_close_matches(name.lower(), DATASETS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(DATASETS)}"
        raise MisuseError(f"no data set is called {name!r}; {hint}")
    return card
