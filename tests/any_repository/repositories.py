"""Small real DVC repositories, one for each thing that DVC can declare."""

from __future__ import annotations

from collections.abc import Mapping

PIPELINES: Mapping[str, Mapping[str, str]] = {
    "several and nested pipelines": {
        "raw.txt": "raw\n",
        "dvc.yaml": """\
stages:
  first:
    cmd: cat raw.txt > first.txt
    deps: [raw.txt]
    outs: [first.txt]
  last:
    cmd: cat a/b/deep.txt > last.txt
    deps: [a/b/deep.txt]
    outs: [last.txt]
""",
        "a/dvc.yaml": """\
stages:
  first:
    cmd: cat ../first.txt > second.txt
    deps: [../first.txt]
    outs: [second.txt]
""",
        "a/b/dvc.yaml": """\
stages:
  first:
    cmd: cat ../second.txt ../../first.txt > deep.txt
    deps: [../second.txt, ../../first.txt]
    outs: [deep.txt]
""",
    },
    "wdir": {
        "work/input.txt": "input\n",
        "work/deep/.gitkeep": "",
        "dvc.yaml": """\
vars:
  - place: work
stages:
  inside:
    wdir: ${place}
    cmd: cat input.txt > output.txt
    deps: [input.txt]
    outs: [output.txt]
  deeper:
    wdir: work/deep
    cmd: cat ../output.txt > ../../done.txt
    deps: [../output.txt]
    outs: [../../done.txt]
""",
    },
    "vars and templating": {
        "params.yaml": "model:\n  name: net\n  layers: 3\nflag: true\n",
        "settings.json": '{"rate": 0.5, "nested": {"deep": ["x", "y"]}}\n',
        "ds/local.yaml": "word: hello\n",
        "dvc.yaml": """\
vars:
  - settings.json
  - inline: value
    folder: out
stages:
  train:
    cmd: echo ${model.name} ${model.layers} ${rate} ${nested.deep[1]} ${flag} > ${folder}.txt
    params: [model.name]
    outs: ["${folder}.txt"]
""",
        "ds/dvc.yaml": """\
stages:
  say:
    vars:
      - local.yaml
      - extra: 1
    cmd: echo ${word} ${extra} > said-${extra}.txt
    outs: ["said-${extra}.txt"]
""",
    },
    "foreach over lists and dictionaries": {
        "in/a.txt": "a\n",
        "in/b.txt": "b\n",
        "params.yaml": """\
names: [a, b]
models:
  small: {size: 1, src: a}
  large: {size: 2, src: b}
pairs:
  - {name: a, n: 1}
  - {name: b, n: 2}
""",
        "dvc.yaml": """\
stages:
  listed:
    foreach: ${names}
    do:
      cmd: mkdir -p listed && cat in/${item}.txt > listed/${item}.txt
      deps: ["in/${item}.txt"]
      outs: ["listed/${item}.txt"]
  keyed:
    foreach: ${models}
    do:
      cmd: mkdir -p keyed && cat listed/${item.src}.txt > keyed/${key}
      deps: ["listed/${item.src}.txt"]
      outs: ["keyed/${key}"]
  paired:
    foreach: ${pairs}
    do:
      cmd: mkdir -p paired && cat listed/${item.name}.txt > paired/${item.name}_${item.n}.txt
      deps: ["listed/${item.name}.txt"]
      outs: ["paired/${item.name}_${item.n}.txt"]
  inline:
    foreach: [1, 2.5, true, x y]
    do:
      cmd: echo "${item}" > "inline ${item}.txt"
      outs: ["inline ${item}.txt"]
  gathered:
    cmd: cat listed/*.txt keyed/* > gathered.txt
    deps: [listed, keyed]
    outs: [gathered.txt]
""",
    },
    "matrix": {
        "dvc.yaml": """\
vars:
  - sets: [day, night]
stages:
  train:
    matrix:
      set: ${sets}
      config:
        - {rate: 0.1}
        - {rate: 0.2}
    cmd: mkdir -p models && echo ${item.set} ${item.config.rate} > models/${key}.txt
    outs: ["models/${key}.txt"]
  one:
    matrix:
      set: [day, night]
    cmd: mkdir -p one && echo ${item.set} > one/${item.set}.txt
    outs: ["one/${item.set}.txt"]
  both:
    matrix:
      set: [day, night]
      size: [1, 2]
    cmd: mkdir -p both && cat one/${item.set}.txt > both/${item.set}-${item.size}.txt
    deps: ["one/${item.set}.txt"]
    outs: ["both/${item.set}-${item.size}.txt"]
""",
    },
    "chains": {
        "in.txt": "in\n",
        "dvc.yaml": """\
stages:
  before:
    cmd: cat in.txt > before.txt
    deps: [in.txt]
    outs: [before.txt]
  after:
    cmd: cat before.txt > after.txt
    deps: [before.txt]
    outs: [after.txt]
""",
    },
    "items that read one another": {
        "dvc.yaml": """\
stages:
  first:
    cmd: mkdir -p out && echo 0 > out/0
    outs: [out/0]
  step:
    foreach:
      1: {before: 0}
      2: {before: 1}
    do:
      cmd: cat out/${item.before} > out/${key}
      deps: ["out/${item.before}"]
      outs: ["out/${key}"]
""",
    },
    "without dependencies, outputs or a command": {
        "in.txt": "in\n",
        "dvc.yaml": """\
stages:
  no-deps:
    cmd: echo made > made.txt
    outs: [made.txt]
  no-outs:
    cmd: cat made.txt
    deps: [made.txt]
    params: [level]
  nothing:
    cmd: echo nothing
  each:
    foreach: [a, b]
    do:
      cmd: cat made.txt
      deps: [made.txt]
""",
        "params.yaml": "level: 1\n",
    },
    "always changed, persistent and uncached": {
        "in.txt": "in\n",
        "dvc.yaml": """\
stages:
  always:
    cmd: cat in.txt > always.txt
    deps: [in.txt]
    outs: [always.txt]
    always_changed: true
  grow:
    cmd: echo more >> grown.txt
    deps: [in.txt]
    outs:
      - grown.txt:
          persist: true
  plain:
    cmd: mkdir -p plain && cat in.txt > plain/a.txt
    deps: [in.txt]
    outs:
      - plain:
          cache: false
""",
    },
    "metrics, plots, parameters and artifacts": {
        "in.txt": "in\n",
        "params.yaml": "rate: 0.5\n",
        "extra/config.yaml": "depth: 2\n",
        "extra/hand.json": '{"score": 1}\n',
        "dvc.yaml": """\
stages:
  train:
    cmd: >-
      echo '{"accuracy": 0.9}' > scores.json && printf 'step,loss\\n1,2\\n' > losses.csv
      && cat in.txt > model.pkl
    deps: [in.txt]
    params: [rate]
    outs: [model.pkl]
    metrics:
      - scores.json:
          cache: false
    plots:
      - losses.csv:
          x: step
          y: loss
metrics:
  - extra/hand.json
  - scores.json
params:
  - extra/config.yaml
plots:
  - losses.csv:
      x: step
      y: loss
  - any name:
      x: step
      y:
        losses.csv: loss
artifacts:
  model:
    path: model.pkl
    type: model
    desc: what it is
    labels: [a, b]
    meta: {x: 1}
""",
    },
    "parameters of every format": {
        "params.yaml": "a: 1\nlist: [1, 2]\ndict: {x: 1}\n",
        "p.json": '{"b": {"c": 2}}\n',
        "p.toml": "[d]\ne = 3.5\n",
        "p.py": "f = 4\nclass Train:\n    rate = 0.1\n    n = 5\n",
        "whole.yaml": "x: 1\ny: [1, 2]\n",
        "sub/own.yaml": "z: text\n",
        "dvc.yaml": """\
stages:
  read:
    cmd: cat p.json p.toml p.py whole.yaml > read.txt
    params:
      - a
      - list
      - dict
      - p.json: [b.c]
      - p.toml: [d.e]
      - p.py: [f, Train.rate, Train.n]
      - whole.yaml:
      - sub/own.yaml: [z]
    outs: [read.txt]
""",
    },
    "lists of commands": {
        "dvc.yaml": """\
stages:
  many:
    cmd:
      - echo one > one.txt
      - |
        echo two > two.txt
        echo three >> two.txt
      - X=1
      - cat one.txt two.txt > three.txt
    outs: [one.txt, two.txt, three.txt]
""",
    },
    "dependencies around and within outputs": {
        "dvc.yaml": """\
stages:
  make:
    cmd: mkdir -p made/deep && echo a > made/a.txt && echo b > made/deep/b.txt
    outs: [made]
  side:
    cmd: mkdir -p parts && echo x > parts/x.txt && echo y > parts/y.txt
    outs: [parts/x.txt, parts/y.txt]
  within:
    cmd: cat made/deep/b.txt > within.txt
    deps: [made/deep/b.txt]
    outs: [within.txt]
  around:
    cmd: cat parts/*.txt > around.txt
    deps: [parts]
    outs: [around.txt]
""",
    },
    "files tracked by Git": {
        "src/code.py": "print('x')\n",
        "data/in.csv": "1\n",
        "data/more/two.csv": "2\n",
        "dvc.yaml": """\
stages:
  make:
    cmd: python src/code.py > out.txt
    deps: [src/code.py, src, data]
    outs: [out.txt]
""",
    },
    "odd names": {
        "in put/a b.txt": "a\n",
        "dvc.yaml": """\
stages:
  make:
    cmd:
      - mkdir -p 'out put'
      - cat 'in put/a b.txt' > 'out put/Foto (1) [x].v2-final.txt'
      - cat 'in put/a b.txt' > 'caf\u00e9.txt'
      - cat 'in put/a b.txt' > 'cafe\u0301 2.txt'
      - cat 'in put/a b.txt' > 'me@home+you,too;!#%&=~.txt'
      - cat 'in put/a b.txt' > "it's.txt"
      - cat 'in put/a b.txt' > 'say "hi".txt'
      - cat 'in put/a b.txt' > '.hidden.txt'
      - cat 'in put/a b.txt' > '\u65e5\u672c.txt'
      - cat 'in put/a b.txt' > 'a*b?.txt'
    deps:
      - in put/a b.txt
    outs:
      - out put/Foto (1) [x].v2-final.txt
      - "caf\u00e9.txt"
      - "cafe\u0301 2.txt"
      - me@home+you,too;!#%&=~.txt
      - it's.txt
      - 'say "hi".txt'
      - .hidden.txt
      - "\u65e5\u672c.txt"
      - 'a*b?.txt'
  next:
    cmd: cat "it's.txt" 'say "hi".txt' > next.txt
    deps:
      - it's.txt
      - 'say "hi".txt'
      - out put
    outs: [next.txt]
""",
    },
}
"""Files, with a pipeline that can be run."""

TRACKED: Mapping[str, str] = {
    "import from a Git repository": r"""
mkdir ../other && cd ../other && git init -q && dvc init -q
mkdir data && echo one > data/one.txt && echo plain > plain.txt
dvc add -q data && git add -A && git commit -qm x
cd "$OLDPWD"
dvc import -q "$(realpath ../other)" data -o taken
dvc import -q "$(realpath ../other)" plain.txt -o plain.txt
dvc import -q "$(realpath ../other)" data/one.txt -o one.txt --no-download
""",
    "import from a Git repository that is gone": r"""
mkdir ../other && cd ../other && git init -q && dvc init -q
mkdir data && echo one > data/one.txt && dvc add -q data && git add -A && git commit -qm x
cd "$OLDPWD"
dvc import -q ../other data -o taken
dvc import -q ../other data -o later --no-download
rm -rf ../other taken .dvc/cache/files
""",
    "import-url": r"""
mkdir -p ../outside/folder && echo one > ../outside/one.txt && echo two > ../outside/folder/two.txt
dvc import-url -q "$(realpath ../outside)/one.txt" one.txt
dvc import-url -q "$(realpath ../outside)/folder" folder
dvc import-url -q --no-download "$(realpath ../outside)/one.txt" later.txt
dvc import-url -q one.txt copy.txt
mkdir in && dvc import-url -q folder in/folder
cat > dvc.yaml <<E
stages:
  use:
    cmd: cat one.txt later.txt > used.txt
    deps: [one.txt, later.txt]
    outs: [used.txt]
E
""",
    "import-url whose source is gone": r"""
mkdir ../outside && echo one > ../outside/one.txt
dvc import-url -q "$(realpath ../outside)/one.txt" one.txt
dvc import-url -q --no-download "$(realpath ../outside)/one.txt" later.txt
rm -rf ../outside
""",
    "tracked files with a working directory": r"""
mkdir -p data/deep && echo a > data/deep/a.txt && echo b > b.txt
dvc add -q data/deep/a.txt b.txt
sed 's/path: b.txt/path: a.txt/; s/^outs/wdir: data\nouts/' b.txt.dvc > elsewhere.dvc
cp b.txt data/a.txt && rm b.txt b.txt.dvc
echo /a.txt > data/.gitignore
""",
    "outputs outside the repository": r"""
mkdir -p ../outside && echo in > ../outside/in.txt
cat > dvc.yaml <<E
stages:
  out:
    cmd: cat $(realpath ../outside)/in.txt > $(realpath ../outside)/out.txt
    deps: [$(realpath ../outside)/in.txt]
    outs:
      - $(realpath ../outside)/out.txt:
          cache: false
  back:
    cmd: cat $(realpath ../outside)/out.txt > back.txt
    deps: [$(realpath ../outside)/out.txt, ../outside/in.txt]
    outs: [back.txt]
E
""",
    "cloud versioned": r"""
dvc remote add -q -d cloud s3://bucket/path
dvc remote modify -q cloud version_aware true
mkdir data && echo a > data/a.txt && echo b > b.txt
echo /data > .gitignore && echo /b.txt >> .gitignore && echo /model.txt >> .gitignore
cat > data.dvc <<E
outs:
- path: data
  hash: md5
  files:
  - relpath: a.txt
    md5: 60b725f10c9c85c70d97880dfe8191b3
    size: 2
    cloud:
      cloud:
        etag: 60b725f10c9c85c70d97880dfe8191b3
        version_id: abc
E
cat > b.txt.dvc <<E
outs:
- md5: 3b5d5c3712955042212316173ccf37be
  size: 2
  hash: md5
  path: b.txt
  push: false
  cloud:
    cloud:
      etag: xyz0
      version_id: yyy1
E
cat > dvc.yaml <<E
stages:
  train:
    cmd: cat data/a.txt b.txt > model.txt
    deps: [data, b.txt]
    outs:
      - model.txt:
          remote: cloud
E
""",
    "a repository inside a repository": r"""
echo a > a.txt && dvc add -q a.txt
mkdir -p inner && cd inner && dvc init -q --subdir && echo b > b.txt && dvc add -q b.txt && cd ..
cat > dvc.yaml <<E
stages:
  use:
    cmd: cat a.txt inner/b.txt > used.txt
    deps: [a.txt, inner/b.txt]
    outs: [used.txt]
E
""",
    "metafiles of DVC 2": r"""
mkdir data && echo a > data/a.txt && echo b > b.txt
cat > data.dvc <<E
outs:
- md5: 465a62c55506cd2fa10372c1f9ba4b5e.dir
  size: 2
  nfiles: 1
  path: data
E
cat > b.txt.dvc <<E
outs:
- md5: 3b5d5c3712955042212316173ccf37be
  size: 2
  path: b.txt
E
printf '/data\n/b.txt\n/out.txt\n' > .gitignore
cat > dvc.yaml <<E
stages:
  make:
    cmd: cat b.txt > out.txt
    deps: [b.txt]
    outs: [out.txt]
E
cat > dvc.lock <<E
schema: '2.0'
stages:
  make:
    cmd: cat b.txt > out.txt
    deps:
    - path: b.txt
      md5: 3b5d5c3712955042212316173ccf37be
      size: 2
    outs:
    - path: out.txt
      md5: 3b5d5c3712955042212316173ccf37be
      size: 2
E
cp b.txt out.txt
""",
    "outputs that were not committed": r"""
echo in > in.txt && echo a > a.txt && dvc add -q --no-commit a.txt
cat > dvc.yaml <<E
stages:
  make:
    cmd: cat in.txt a.txt > out.txt
    deps: [in.txt, a.txt]
    outs: [out.txt]
E
dvc repro -q --no-commit
""",
    "straight to a remote": r"""
mkdir ../remote && dvc remote add -q -d store "$(realpath ../remote)"
mkdir ../outside && echo a > ../outside/a.txt
dvc add -q "$(realpath ../outside)/a.txt" --to-remote -o a.txt
dvc import-url -q "$(realpath ../outside)/a.txt" b.txt --to-remote
rm -rf .dvc/cache
""",
    "several outputs in one file": r"""
echo a > a.txt && echo b > b.txt && printf '/a.txt\n/b.txt\n' > .gitignore
cat > both.dvc <<E
outs:
- md5: 60b725f10c9c85c70d97880dfe8191b3
  size: 2
  path: a.txt
- md5: 3b5d5c3712955042212316173ccf37be
  size: 2
  path: b.txt
E
""",
    "data sets of DVCX": r"""
cat > dvc.yaml <<E
datasets:
  - name: cats
    type: url
    url: s3://bucket/cats
stages:
  use:
    cmd: echo used > used.txt
    deps: ["ds://cats"]
    outs: [used.txt]
E
cat > dvc.lock <<E
schema: '2.0'
datasets:
  - name: cats
    type: url
    url: s3://bucket/cats
    meta: {isdir: true}
    files: []
E
""",
}
"""Scripts that make what only DVC itself, or an older one, leaves, at the root of a repository."""
