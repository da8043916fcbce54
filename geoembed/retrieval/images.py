"""Images as examples: the vectors of chips that were cut elsewhere, embedded with the model of what is searched."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from geoembed.chips import batches
from geoembed.chips.folder import ChipSet
from geoembed.errors import ChipError, ModelError
from geoembed.fits.embeddings import FUSED, Embeddings
from geoembed.learning import checkpoint
from geoembed.learning import model as encoders
from geoembed.progress import Progress


def embed(
    chipset: ChipSet, folder: Path, file: Embeddings, name: str, device: str
) -> Generator[Progress, None, NDArray[np.float32]]:
    """Embed chips as those of an embeddings file were, and return their vectors (N, D), NaN where a chip has none.

    folder: of the model that embedded the file.
    name: a modality, or fused.

    Raises ModelError where the model is another, and ChipError where the chips have nothing of what it embedded.
    """
    trained = checkpoint.read(folder, device=encoders.choose_device(device), chips=chipset.folder)
    if trained.digest != file.attributes.get("model_sha256"):
        raise ModelError(f"{folder}: {file.path} was embedded with another model; name that one with --model")
    embedded: dict[str, list[str]] = file.attributes["channels"]
    wanted = list(embedded) if name == FUSED else [name]
    used = {one: tuple(c for c in embedded[one] if c in chipset.channels.get(one, ())) for one in wanted}
    used = {one: channels for one, channels in used.items() if channels}
    if not used:
        raise ChipError(f"{chipset.folder}: the chips have no {' or '.join(wanted)}; pass another --by")
    known = {one: trained.described.model.channels[one] for one in used}
    reader = batches.Reader(chipset, known, only=used, strict=True, memory=0)
    total, parts = len(reader.chip_ids), [np.empty((0, file.widths[name]), np.float32)]
    order = batches.blocks(np.arange(total), reader.batch_size(trained.model.log_scale.device.type))
    with closing(batches.ahead(reader, trained.described.statistics, order, 2)) as source, torch.no_grad():
        for batch in source:
            with encoders.autocast(trained.model.log_scale.device):
                parts.append(encoders.encode(trained.model, batch.values)[name].cpu().numpy())
            yield Progress(int(batch.rows[-1]) + 1, total, "chips", "examples")
    return np.concatenate(parts)


def share_a_space(file: Embeddings, first: str, second: str) -> bool:
    """Tell whether vectors of two names can be compared: training contrasted them, and fused is the mean of such."""
    config = file.attributes.get("model_config")
    trained = config.get("channels", {}) if isinstance(config, dict) else {}
    is_contrasted = all(name == FUSED or name in trained for name in (first, second))
    return first == second or (file.attributes.get("space") == encoders.SPACE and is_contrasted)
