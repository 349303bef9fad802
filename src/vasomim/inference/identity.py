"""The attributes that file an object with its patient and examination, passed on where that is wanted."""

from __future__ import annotations

from pydicom.dataset import Dataset

PATIENT_STUDY = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "OtherPatientIDsSequence",
    "PatientBirthDate",
    "PatientBirthTime",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
)
"""Attributes of the Patient, General Study and Patient Study modules."""


def copy_identity(source: Dataset, target: Dataset) -> None:
    """Copy the patient's and the examination's attributes as they are, empty ones included."""
    for keyword in PATIENT_STUDY:
        if keyword in source:
            target[keyword] = source[keyword]
