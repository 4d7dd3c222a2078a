/** The images: panes in a grid, with a narrow bar of tools. */

import { useState } from 'preact/hooks';
import type { Place, Region } from '../api/types.ts';
import type { Item } from '../study/items.ts';
import type { Hanging } from '../study/use_hanging.ts';
import { find, type Stack } from './frames.ts';
import type { Shown } from './overlay.tsx';
import { PaneView } from './pane_view.tsx';
import { CT_PRESETS } from './presets.ts';

interface Props {
  hanging: Hanging;
  items: Item[];
  chosen: string | null;
  hovered: string | null;
  boxes: boolean;
  /** What was asked about, or is to be. */
  asked: Region | null;
  choose: (id: string) => void;
  hover: (id: string | null) => void;
  drawn: () => void;
  measured: (mm: number | null) => void;
  toggleBoxes: () => void;
}

function look(item: Item): Shown['look'] {
  return item.decision === 'reject' ? 'rejected' : item.decision === 'change' || item.isAdded ? 'person' : 'model';
}

/** The boxes on a frame. A rejected one is shown only while its finding is chosen. */
function boxesOn(stack: Stack, index: number, items: Item[], chosen: string | null, hovered: string | null): Shown[] {
  const frame = stack.frames[index];
  if (frame === undefined || stack.prior !== null) return [];
  return items.flatMap((item) => {
    const isChosen = item.id === chosen || item.id === hovered;
    if (item.decision === 'reject' && !isChosen) return [];
    const places = item.finding.evidence.filter((place) => place.instance === frame.instance.uid && place.frame === frame.number && place.box !== undefined);
    return places.map((place): Shown => ({ id: item.id, label: item.number === null ? item.name : `${item.number} ${item.name}`, box: place.box!, chosen: isChosen, look: look(item) }));
  });
}

function askedOn(stack: Stack, index: number, asked: Region | null): Shown[] {
  const frame = stack.frames[index];
  if (frame === undefined || stack.prior !== null || asked === null || !asked.box) return [];
  return asked.instance === frame.instance.uid && asked.frame === frame.number ? [{ id: 'asked', label: 'asked about', box: asked.box, chosen: true, look: 'asked' }] : [];
}

function marksOf(stack: Stack, items: Item[], chosen: string | null): number[] {
  const places = items.filter((item) => chosen === null || item.id === chosen).flatMap((item): Place[] => item.finding.evidence);
  const found = places.map((place) => find([stack], place.instance, place.frame)?.index).filter((index) => index !== undefined);
  return [...new Set(found)];
}

export function Viewer({ hanging, items, chosen, hovered, boxes, asked, choose, hover, drawn, measured, toggleBoxes }: Props) {
  const [, redraw] = useState(0);
  const { all, panes, current, tool, setTool, drawing } = hanging;
  const own = all.filter((stack) => stack.prior === null);
  const isCt = current?.kind === 'ct';
  const window = current === null ? null : (hanging.windowOf(current) ?? hanging.handles.get(current.key)?.pane.currentWindow() ?? null);
  const pressed = (name: 'box' | 'measure') => ({ 'aria-pressed': tool === name, onClick: () => setTool(tool === name ? 'look' : name) });
  return (
    <section class="viewer" aria-label="Images">
      <div class={`panes n-${Math.min(4, panes.length)}`}>
        {panes.map((place, pane) => {
          const stack = all[place]!;
          const index = hanging.indexOf(stack);
          return (
            <PaneView key={`${pane}`} stack={stack} index={index} besides={panes.some((each) => all[each]?.prior !== null)} active={pane === hanging.active && panes.length > 1} window={hanging.windowOf(stack)} tool={stack.prior === null ? tool : 'look'}
              boxes={[...(boxes ? boxesOn(stack, index, items, chosen, hovered) : []), ...askedOn(stack, index, asked)]}
              marks={stack.frames.length > 1 ? marksOf(stack, items, chosen) : []}
              drawing={drawing !== null && drawing.stack.key === stack.key && drawing.index === index ? drawing.box : null}
              turn={(next) => hanging.turn(stack, next)} activate={() => hanging.activate(pane)} setWindow={(next) => hanging.setWindow(stack, next)}
              choose={choose} hover={hover}
              draw={(box, done) => { hanging.setDrawing({ stack, index, box }); if (done) drawn(); }}
              measured={measured}
              handle={(handle) => { if (handle === null) hanging.handles.delete(stack.key); else hanging.handles.set(stack.key, handle); redraw((count) => count + 1); }} />
          );
        })}
        {panes.length === 0 && <p class="no-images">No image of this study can be shown. The report stands beside.</p>}
      </div>
      <div class="tools" role="toolbar" aria-label="Image tools">
        {isCt && CT_PRESETS.map((preset) => (
          <button key={preset.key} class={Number(preset.key) > 3 ? 'seldom' : ''} aria-pressed={window?.center === preset.center && window.width === preset.width} onClick={() => hanging.setWindow(current, preset)}>{preset.name} <kbd>{preset.key}</kbd></button>
        ))}
        {current !== null && !isCt && <button onClick={() => hanging.contrast()}>Contrast <kbd>1</kbd></button>}
        {current !== null && <button onClick={() => hanging.setWindow(current, null)}>{isCt ? 'Header' : 'Window'} <kbd>0</kbd></button>}
        <button onClick={() => current && hanging.handles.get(current.key)?.pane.invert()}>Invert <kbd>i</kbd></button>
        <button onClick={() => current && hanging.handles.get(current.key)?.pane.fit()}>Fit <kbd>f</kbd></button>
        <button {...pressed('measure')}>Measure <kbd>m</kbd></button>
        <button {...pressed('box')}>Box <kbd>n</kbd></button>
        <button aria-pressed={boxes} onClick={toggleBoxes}>Boxes <kbd>b</kbd></button>
        {own.length > 1 && (
          <span class="series">
            {own.slice(0, 12).map((stack, index) => (
              <button key={stack.key} aria-pressed={stack === current} title={stack.description} onClick={() => hanging.put(index)}>{stack.label}{stack.frames.length > 1 ? ` · ${stack.frames.length}` : ''}</button>
            ))}
          </span>
        )}
      </div>
    </section>
  );
}
