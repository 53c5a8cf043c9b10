"""Puts an extension's folder into a .vsix: a zip with a manifest for VS Code around it.

    package.py FOLDER OUT.vsix

The same files give the same bytes: entries are sorted and bear a fixed time.
"""

import json
import sys
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

TYPES = {
    ".js": "application/javascript",
    ".cjs": "application/javascript",
    ".mjs": "application/javascript",
    ".json": "application/json",
    ".md": "text/markdown",
    ".txt": "text/plain",
    ".vsixmanifest": "text/xml",
}
# What the language client brings along and nothing loads.
LEFT_OUT = (".map", ".d.ts", ".ts", ".yml", ".eslintrc", ".nycrc", ".editorconfig", ".npmignore")


def manifest(about: dict) -> str:
    tags = ",".join(["claw", "language server"])
    categories = ",".join(about["categories"])
    engine = about["engines"]["vscode"]
    return f"""<?xml version="1.0" encoding="utf-8"?>
<PackageManifest Version="2.0.0" xmlns="http://schemas.microsoft.com/developer/vsx-schema/2011" xmlns:d="http://schemas.microsoft.com/developer/vsx-schema-design/2011">
  <Metadata>
    <Identity Language="en-US" Id={quoteattr(about["name"])} Version={quoteattr(about["version"])} Publisher={quoteattr(about["publisher"])}/>
    <DisplayName>{escape(about["displayName"])}</DisplayName>
    <Description xml:space="preserve">{escape(about["description"])}</Description>
    <Tags>{escape(tags)}</Tags>
    <Categories>{escape(categories)}</Categories>
    <GalleryFlags>Public</GalleryFlags>
    <Properties>
      <Property Id="Microsoft.VisualStudio.Code.Engine" Value={quoteattr(engine)}/>
      <Property Id="Microsoft.VisualStudio.Code.ExtensionDependencies" Value=""/>
      <Property Id="Microsoft.VisualStudio.Code.ExtensionPack" Value=""/>
      <Property Id="Microsoft.VisualStudio.Code.ExtensionKind" Value="workspace"/>
    </Properties>
  </Metadata>
  <Installation>
    <InstallationTarget Id="Microsoft.VisualStudio.Code"/>
  </Installation>
  <Dependencies/>
  <Assets>
    <Asset Type="Microsoft.VisualStudio.Code.Manifest" Path="extension/package.json" Addressable="true"/>
    <Asset Type="Microsoft.VisualStudio.Services.Content.Details" Path="extension/README.md" Addressable="true"/>
  </Assets>
</PackageManifest>
"""


def content_types(paths: list[str]) -> str:
    endings = sorted({Path(path).suffix for path in paths} - {""})
    lines = [
        f'  <Default Extension="{escape(end)}" ContentType="{TYPES.get(end, "application/octet-stream")}"/>'
        for end in endings
    ]
    body = "\n".join(lines)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">\n'
        f"{body}\n</Types>\n"
    )


def main() -> None:
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    about = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    entries = {"extension.vsixmanifest": manifest(about).encode()}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.endswith(LEFT_OUT):
            entries[f"extension/{name}"] = path.read_bytes()
    entries["[Content_Types].xml"] = content_types(list(entries)).encode()
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        for name in sorted(entries):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            package.writestr(entry, entries[name])
    print(f"{out}: {len(entries)} files, {out.stat().st_size / 1024:.0f} KiB")


main()
