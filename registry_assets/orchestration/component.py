"""The component that gives a DVC repository to a `dg` project, from YAML."""

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
        translation: What to change of each asset; `spec` is the asset as it would be, `path` its
            path in the repository. A changed key changes in the dependencies that point at it too.
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
    """The default rules, and then what YAML says."""

    def __init__(self, translation: Translation) -> None:
        self._translation = translation

    def asset_key(self, path: str) -> Key:
        key = super().asset_key(path)
        facts = {"path": "/".join(key)}
        return tuple(self._translation(AssetSpec(AssetKey(list(key))), facts).key.path)

    def translate(self, spec: AssetSpec) -> AssetSpec:
        """Everything but the key, which was translated when the graph was built."""
        path = spec.metadata.get("dvc/path")
        if path is None:
            return spec
        key = super().asset_key(str(path).replace("*", ITEM))
        changed = self._translation(spec, {"path": "/".join(key)})
        return changed.replace_attributes(key=spec.key)
