"""The component that adds a DVC repository to a `dg` project with YAML."""

from typing import Annotated, Any

from dagster import AssetKey, AssetSpec, Definitions
from dagster.components import Component, ComponentLoadContext, Model, Resolvable
from dagster.components.utils.translation import (
    TranslationFn,
    TranslationFnResolver,
)

from registry_assets.model import ITEM
from registry_assets.orchestration.building import build_definitions
from registry_assets.registry.translator import Key, RegistryTranslator

Translation = TranslationFn[dict[str, Any]]


class DvcRegistryComponent(Component, Resolvable, Model):
    """A DVC repository as assets.

    ```yaml
    type: registry_assets.DvcRegistryComponent
    attributes:
      root: ../../my_registry
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
