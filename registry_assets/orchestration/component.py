"""The component that adds a DVC repository to a `dg` project with YAML."""

import os
from pathlib import Path
from typing import Annotated, Any

import click
from dagster import AssetKey, AssetSpec, Definitions
from dagster.components import (
    Component,
    ComponentLoadContext,
    Model,
    Resolvable,
    Scaffolder,
    ScaffoldRequest,
    scaffold_component,
    scaffold_with,
)
from dagster.components.utils.translation import (
    TranslationFn,
    TranslationFnResolver,
)

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import NotFoundError
from registry_assets.model import ITEM
from registry_assets.orchestration.building import build_definitions
from registry_assets.registry.translator import Key, RegistryTranslator

Translation = TranslationFn[dict[str, Any]]


_COMPONENT_PY = """\
import dagster as dg
from registry_assets import DvcRegistryComponent


@dg.component_instance
def load(context: dg.ComponentLoadContext) -> DvcRegistryComponent:
    return DvcRegistryComponent(root={root!r})
"""


class ScaffoldParameters(Model):
    """What `dg scaffold defs` asks for.

    Attributes:
        root: Any folder of the repository, from the working directory. When None, the repository
            is the one around the project.
    """

    root: str | None = None


class DvcRegistryScaffolder(Scaffolder[ScaffoldParameters]):
    """Writes the YAML, or Python, of a component that loads."""

    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldParameters]:
        """What the command line of `dg scaffold defs` takes."""
        return ScaffoldParameters

    def scaffold(self, request: ScaffoldRequest[ScaffoldParameters]) -> None:
        """Writes `defs.yaml` or `component.py`.

        Raises:
            click.ClickException: when there is no DVC repository; nothing is left behind.
        """
        folder = request.target_path.parent if request.append else request.target_path
        given = request.params.root
        try:
            root = DvcRepo(Path(given or request.project_root or folder)).root
        except NotFoundError as error:
            if not request.append:
                folder.rmdir()
            raise click.ClickException(str(error)) from error
        written = given if given and Path(given).is_absolute() else os.path.relpath(root, folder)
        if request.scaffold_format == "yaml":
            scaffold_component(request, {"root": written})
        else:
            text = _COMPONENT_PY.format(root=written)
            (folder / "component.py").write_text(text, encoding="utf-8")


@scaffold_with(DvcRegistryScaffolder)
class DvcRegistryComponent(Component, Resolvable, Model):
    """A DVC repository as assets.

    `dg scaffold defs registry_assets.DvcRegistryComponent NAME --root FOLDER` writes such a file:

    ```yaml
    type: registry_assets.DvcRegistryComponent
    attributes:
      root: ../../../../../my_registry
      translation:
        key: "photos/{{ path }}"
        group_name: photos
    ```

    Attributes:
        root: Any folder of the repository, relative to the folder of the YAML file.
        translation: Attributes of each asset to override; `spec` is the asset as generated, `path`
            its path in the repository. Dependencies on an asset follow its new key.
    """

    root: str
    translation: Annotated[
        Translation | None,
        TranslationFnResolver(template_vars_for_translation_fn=lambda facts: facts),
    ] = None

    def build_defs(self, context: ComponentLoadContext) -> Definitions:
        """Reads the repository and builds its definitions."""
        root = (context.path / self.root).resolve()
        if self.translation is None:
            return build_definitions(root)
        translator = _YamlTranslator(self.translation)
        definitions = build_definitions(root, translator=translator)
        return definitions.map_asset_specs(func=translator.translate)


class _YamlTranslator(RegistryTranslator):
    """The default rules, overridden by the YAML."""

    def __init__(self, translation: Translation) -> None:
        self._translation = translation

    def asset_key(self, path: str) -> Key:
        key = super().asset_key(path)
        facts = {"path": "/".join(key)}
        return tuple(self._translation(AssetSpec(AssetKey(list(key))), facts).key.path)

    def translate(self, spec: AssetSpec) -> AssetSpec:
        """Overrides all attributes but the key, which the graph has translated already."""
        path = spec.metadata.get("dvc/path")
        if path is None:
            return spec
        key = super().asset_key(str(path).replace("*", ITEM))
        changed = self._translation(spec, {"path": "/".join(key)})
        return changed.replace_attributes(key=spec.key)
