"""How the gallery looks and what it does on a click; written into the page as they stand."""

from typing import Final

CSS: Final = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#16181d;--dim:#667085;--line:#e4e7ec;
--accent:#3b5bdb;--good:#2b8a3e;--bad:#c92a2a;--soft:#eef1f6;--cell:136px;
font:15px/1.45 ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
@media(prefers-color-scheme:dark){:root{--bg:#0f1115;--card:#171a20;--ink:#e8eaee;--dim:#98a2b3;
--line:#272b33;--accent:#8ea6ff;--good:#69db7c;--bad:#ff8787;--soft:#1f232b}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font-variant-numeric:tabular-nums}
header{position:sticky;top:0;z-index:2;background:var(--card);border-bottom:1px solid var(--line);
padding:10px clamp(14px,3vw,40px);display:flex;flex-wrap:wrap;gap:8px 20px;align-items:center}
header h1{font-size:17px;margin:0;letter-spacing:-.01em}
header .count{color:var(--dim);font-size:13px;margin-right:auto}
.tools{display:flex;gap:8px;min-width:0}
input,select{font:inherit;font-size:14px;color:inherit;background:var(--soft);
border:1px solid var(--line);border-radius:8px;padding:6px 10px;min-width:0}
input{width:250px;flex:1}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
main{padding:20px clamp(14px,3vw,40px) 60px;max-width:1780px;margin:auto}
.about{display:grid;grid-template-columns:minmax(0,3fr) minmax(0,2fr);gap:16px;align-items:start}
.about>div{display:grid;gap:16px;min-width:0}
.networks{list-style:none;margin:0;padding:0;font-size:13.5px}
.networks li{padding:7px 0;border-top:1px solid var(--line);overflow-wrap:anywhere}
.networks li:first-child{border-top:0;padding-top:0}
.networks i{font-style:normal;color:var(--dim)}
.networks small{display:block;color:var(--dim);font-size:12px}
.panel,.row{background:var(--card);border:1px solid var(--line);border-radius:14px;min-width:0}
.panel{padding:16px 18px;overflow-x:auto}
h2{font-size:12px;text-transform:uppercase;letter-spacing:.08em;color:var(--dim);margin:0 0 10px;
font-weight:600}
.lead{margin:0 0 12px}
.tiles{display:flex;flex-wrap:wrap;gap:8px 24px;margin:0}
.tiles div{display:flex;flex-direction:column-reverse}
.tiles dt{color:var(--dim);font-size:12px}.tiles dd{margin:0;font-size:22px;font-weight:650;
letter-spacing:-.02em}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th,td{text-align:left;padding:5px 14px 5px 0;border-top:1px solid var(--line);vertical-align:top}
thead th{border-top:0}
th{font-weight:600;color:var(--dim);white-space:nowrap}tbody th{color:var(--ink)}
td.num{white-space:nowrap}td .sd{color:var(--dim);font-size:12px}td.best{font-weight:650;
color:var(--good)}
.rows{display:grid;gap:16px;margin-top:22px}
.row>h3{margin:0;padding:12px 18px;font-size:14px;font-weight:600;display:flex;flex-wrap:wrap;
gap:4px 12px;align-items:baseline;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
.row h3 code{font-size:12px;color:var(--dim);font-weight:400}
.body{display:flex;gap:0;align-items:flex-start}
.source{flex:none;display:flex;gap:12px;padding:16px 18px}
.strips{overflow-x:auto;padding:16px 18px 12px;flex:1;min-width:0;border-left:1px solid var(--line);
display:grid;gap:16px}
.strip{display:flex;gap:12px}
.strip>b{flex:none;width:20px;writing-mode:vertical-rl;transform:rotate(180deg);text-align:center;
font-size:12px;font-weight:600;color:var(--dim);white-space:nowrap;max-height:150px;
overflow:hidden;text-overflow:ellipsis}
figure{margin:0;width:var(--cell);flex:none}
.frame{position:relative;display:block;width:100%;aspect-ratio:1;border:0;padding:0;cursor:zoom-in;
border-radius:9px;overflow:hidden;background:var(--soft)}
.frame img{width:100%;height:100%;object-fit:contain;display:block}
.frame svg{position:absolute;inset:0;width:100%;height:100%;pointer-events:none}
.frame polygon{fill:none;stroke:#fff;stroke-width:2;vector-effect:non-scaling-stroke;
filter:drop-shadow(0 0 2px #000)}
.frame .none{position:absolute;inset:0;display:grid;place-items:center;color:var(--dim);
font-size:12px}
div.frame{cursor:default}
figcaption{font-size:12px;padding-top:5px;line-height:1.4}
figcaption b{font-weight:600;display:block}
figcaption span{color:var(--dim);margin-right:8px;white-space:nowrap;display:inline-block}
figcaption span.moved{color:var(--accent);font-weight:600}
figcaption p{margin:0;color:var(--dim);overflow-wrap:anywhere}
.sep{flex:none;width:1px;background:var(--line);margin:0 2px}
.rejects{display:flex;flex-wrap:wrap;gap:16px}
.rejects figure{width:calc(var(--cell) + 24px)}
.rejects .status{color:var(--bad)}
.note{color:var(--dim);text-align:center;margin:26px 0 0}
section{margin-top:26px}
[hidden]{display:none!important}
dialog{border:0;padding:0;background:transparent;max-width:96vw;max-height:96vh;color:#fff;
text-align:center}
dialog::backdrop{background:rgba(8,9,12,.88)}
dialog img{width:min(88vw,78vh);height:min(88vw,78vh);object-fit:contain;display:block;
margin:auto;border-radius:10px}
dialog p{margin:10px 0 0;font-size:14px}
@media(max-width:900px){:root{--cell:116px}.about{grid-template-columns:minmax(0,1fr)}
.body{flex-direction:column;align-items:stretch}
.strips{border-left:0;border-top:1px solid var(--line)}}
@media(max-width:480px){:root{--cell:104px}main{padding-top:12px}header{padding:8px 14px}
.tools{width:100%}
.row>h3,.source,.strips,.panel{padding-left:14px;padding-right:14px}}
@media print{header{position:static}.row{break-inside:avoid}}
"""

JS: Final = """
'use strict';
const $=(s,e=document)=>[...e.querySelectorAll(s)];
const rows=$('.row'),list=document.querySelector('.rows'),find=document.querySelector('#find'),
order=document.querySelector('#order'),shown=document.querySelector('#shown'),
box=document.querySelector('dialog'),img=box.querySelector('img'),text=box.querySelector('p');
const filter=()=>{const words=find.value.toLowerCase().split(/\\s+/).filter(Boolean);let n=0;
for(const r of [...rows,...$('.rejects figure')]){
const hit=words.every(w=>r.dataset.find.includes(w));r.hidden=!hit;n+=hit&&r.matches('.row')}
shown.textContent=n};
filter();
find.addEventListener('input',filter);
order.addEventListener('change',()=>{const [key,sign]=order.value.split(' ');
const value=r=>key==='place'?rows.indexOf(r):
(r.dataset[key]===''?Infinity:Number(sign)*Number(r.dataset[key]));
list.append(...[...rows].sort((a,b)=>value(a)-value(b)))});
let at=null;
const show=f=>{at=f;const i=f.querySelector('img');img.src=i.src;img.alt=i.alt;
text.textContent=i.alt;if(!box.open)box.showModal()};
document.addEventListener('click',e=>{const f=e.target.closest('button.frame');
if(f)show(f);else if(e.target===box||e.target===img)box.close()});
document.addEventListener('keydown',e=>{
if(e.key==='/'&&document.activeElement!==find){e.preventDefault();find.focus()}
const way={ArrowRight:1,ArrowLeft:-1}[e.key];if(!box.open||!way)return;
const all=$('button.frame').filter(f=>f.offsetParent);
const next=all[all.indexOf(at)+way];if(next)show(next)});
"""
