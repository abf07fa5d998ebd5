"""A PDF file with text in it, for tests of folders of texts."""

from __future__ import annotations

from pathlib import Path


def write_pdf(path: Path, text: str) -> None:
    """Writes a page with a text, a line for each sentence."""
    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = PdfWriter()
    page = writer.add_blank_page(600, 800)
    font = DictionaryObject({NameObject("/Type"): NameObject("/Font"), NameObject("/Subtype"): NameObject("/Type1"),
                             NameObject("/BaseFont"): NameObject("/Helvetica")})  # fmt: skip
    page[NameObject("/Resources")] = DictionaryObject(
        {NameObject("/Font"): DictionaryObject({NameObject("/F1"): writer._add_object(font)})}
    )
    stream = DecodedStreamObject()
    lines = [f"({part}.) Tj 0 -20 Td" for part in text.split(".") if part.strip()]
    stream.set_data(f"BT /F1 10 Tf 40 760 Td {' '.join(lines)} ET".encode())
    page[NameObject("/Contents")] = writer._add_object(stream)
    writer.write(path)
