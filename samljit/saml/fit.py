"""The start-up self-test: lxml and xmlsec hand each other libxml2 trees, so both must be built on the same libxml2 (trust: 11)."""

from __future__ import annotations

from lxml import etree

_REMEDY = (
    "Install the pair that samljit is tested with, as ready-made wheels: pip install --force-reinstall --only-binary lxml,xmlsec 'samljit'."
)


def require_fit() -> None:
    """Raises: ImportError with one sentence on what does not fit and what to do."""
    try:
        import xmlsec
    except Exception as error:  # xmlsec raises an error class of its own where libxml2 differs, and ImportError where it is broken
        raise ImportError(f"xmlsec cannot be loaded beside lxml {etree.__version__} ({type(error).__name__}). {_REMEDY}") from error
    fault = misfit(lxml_libxml=etree.LIBXML_VERSION, xmlsec_libxml=xmlsec.get_libxml_version())
    if fault is not None:
        raise ImportError(fault)


def misfit(*, lxml_libxml: tuple[int, ...], xmlsec_libxml: tuple[int, ...]) -> str | None:
    """What is wrong with these two versions of libxml2; None where they are one."""
    if lxml_libxml == xmlsec_libxml:
        return None
    ours, theirs = (".".join(map(str, version)) for version in (lxml_libxml, xmlsec_libxml))
    return f"lxml is built on libxml2 {ours}, xmlsec on {theirs}, and they do not fit together. {_REMEDY}"
