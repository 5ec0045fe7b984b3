"""The style sheet of reports: light and dark, wide and narrow, on screen and on paper. No outside host, no script."""

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --soft: #57606a; --line: #d0d7de; --band: #f6f8fa;
  --link: #0969da; --good: #1a7f37; --mixed: #9a6700; --poor: #cf222e; --shade: rgba(27, 31, 36, .22); }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --soft: #9198a1; --line: #3d444d; --band: #161b22;
    --link: #58a6ff; --good: #3fb950; --mixed: #d29922; --poor: #f85149; --shade: rgba(0, 0, 0, .8); }
  figure img { filter: brightness(.88); }
  figure.lines img { filter: invert(.93) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 1.5rem; max-width: 80rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; } h1, h2, h3, p, li { overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
p { max-width: 48rem; } .caption, figcaption { color: var(--soft); font-size: .875rem; max-width: 48rem; }
nav { margin: 1rem 0; padding: .6rem 1rem; background: var(--band); border-radius: 8px; font-size: .9rem; }
nav summary { font-weight: 600; cursor: pointer; } nav ul { list-style: none; margin: .3rem 0 0; padding: 0; }
nav > details > ul { columns: 3 15rem; column-gap: 2rem; }
nav > details > ul > li { break-inside: avoid; margin-bottom: .5rem; }
nav ul ul { margin: 0; padding-left: .9rem; font-size: .8125rem; } nav ul ul a { color: var(--soft); }
.verdicts { list-style: none; margin: 1rem 0; padding: 0; display: grid; gap: .6rem; }
.verdicts li { padding: .6rem .9rem; background: var(--band); border-left: 5px solid var(--line); border-radius: 4px; }
.verdicts .good { border-color: var(--good); } .verdicts .mixed { border-color: var(--mixed); }
.verdicts .poor { border-color: var(--poor); } .verdicts .mark { font-size: .75rem; font-weight: 600; float: right;
  margin-left: 1rem; } .good .mark { color: var(--good); } .mixed .mark { color: var(--mixed); }
.poor .mark { color: var(--poor); } .verdicts p { margin: .2rem 0 0; max-width: 60rem; }
.verdicts .next { color: var(--soft); }
.scroll { overflow: auto; max-width: 100%; width: fit-content; max-height: 36rem;
  border: 1px solid var(--line); border-radius: 6px; -webkit-overflow-scrolling: touch; }
.scroll:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: separate; border-spacing: 0; font-size: .8125rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; white-space: nowrap; border-bottom: 1px solid var(--line); background: var(--paper); }
tr:last-child td { border-bottom: 0; }
th { position: sticky; top: 0; z-index: 1; background: var(--band); }
td:first-child, th:first-child { position: sticky; left: 0; border-right: 1px solid var(--line); }
th:first-child { z-index: 2; }
.label { text-align: left; } .value { text-align: right; }
tr.ruled:not(:last-child) td { border-bottom: 2px solid var(--soft); }
figure { margin: 1rem 0 1.5rem; } figure img { max-width: 100%; height: auto; background: #ffffff; border-radius: 6px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; font-size: .875rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  body { padding: .9rem; } h1 { font-size: 1.35rem; } h2 { font-size: 1.15rem; }
  nav ul ul { display: none; } nav > details > ul { columns: 1; } nav > details > ul > li { margin-bottom: .15rem; }
  .scroll { max-height: 75vh; } th, td { padding: .2rem .45rem; }
  td:first-child, th:first-child { min-width: 30vw; max-width: 38vw; white-space: normal; overflow-wrap: anywhere; }
  td.label:not(:first-child), th.label:not(:first-child) { min-width: 24vw; max-width: 32vw; white-space: normal; }
  dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; }
}
@media print {
  :root { color-scheme: light; --ink: #000000; --paper: #ffffff; --soft: #444444; --line: #bbbbbb; --band: #f2f2f2; }
  body { max-width: none; padding: 0; font-size: 10pt; } figure img, figure.lines img { filter: none; }
  .scroll { overflow: visible; max-height: none; border: 0; width: auto; } table { font-size: 7pt; }
  th, td { position: static; white-space: normal; padding: .1rem .3rem; } thead { display: table-header-group; }
  tr, figure, .verdicts li { break-inside: avoid; } h2, h3 { break-after: avoid; } a { color: inherit; }
}
"""
