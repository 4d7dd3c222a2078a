/** One pane on the page: the image, what lies over it, and the mouse. */

import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { words } from '../api/client.ts';
import type { Box } from '../api/types.ts';
import { date } from '../words.ts';
import { imageName, letters as lettersOf, type Stack } from './frames.ts';
import { boxAt, length, Overlay, type Measure, type Shown } from './overlay.tsx';
import { prefetch } from './fetching.ts';
import { Pane } from './pane.ts';
import { Pointers, type Reach, type Tool } from './pointer.ts';
import type { Window } from './presets.ts';

export interface Handle {
  pane: Pane;
}

interface Props {
  stack: Stack;
  index: number;
  /** Another study hangs beside this one. */
  besides: boolean;
  active: boolean;
  window: Window | null;
  tool: Tool;
  boxes: Shown[];
  drawing: Box | null;
  /** Places in the stack on which something was found. */
  marks: number[];
  turn: (index: number) => void;
  activate: () => void;
  setWindow: (window: Window) => void;
  choose: (id: string) => void;
  hover: (id: string | null) => void;
  draw: (box: Box, done: boolean) => void;
  measured: (mm: number | null) => void;
  handle: (handle: Handle | null) => void;
}

export function PaneView(props: Props) {
  const { stack, index, active, window: wanted, tool, boxes, drawing } = props;
  const element = useRef<HTMLDivElement>(null);
  const pane = useRef<Pane | null>(null);
  const [, redraw] = useState(0);
  const [problem, setProblem] = useState('');
  const [loaded, setLoaded] = useState(0);
  const [measure, setMeasure] = useState<Measure | null>(null);
  const [probe, setProbe] = useState('');
  /** The finding whose box the pointer is in. */
  const [pointed, setPointed] = useState<string | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const frame = stack.frames[index];
  const { instance } = frame ?? {};

  useLayoutEffect(() => {
    let gone = false;
    let stop: (() => void) | null = null;
    setProblem('');
    setLoaded(0);
    setMeasure(null);
    void (async () => {
      try {
        const opened = await Pane.attach(element.current!, stack.kind, () => redraw((count) => count + 1));
        if (gone) return opened.close();
        pane.current = opened;
        opened.setWindow(latest.current.window);
        await opened.open(stack.frames, latest.current.index);
        if (gone) return;
        latest.current.handle({ pane: opened });
        if (stack.frames.length > 1) stop = prefetch(stack.frames, () => latest.current.index, setLoaded);
      } catch (error) {
        if (!gone) setProblem(words(error));
      }
    })();
    return () => {
      gone = true;
      stop?.();
      latest.current.handle(null);
      pane.current?.close();
      pane.current = null;
    };
  }, [stack.key]);

  // Before the next frame: an effect would wait for one, and the image is drawn in the one after.
  useLayoutEffect(() => {
    setMeasure(null);
    pane.current?.show(index).then(() => setProblem(''), (error: unknown) => setProblem(words(error)));
  }, [index]);
  useLayoutEffect(() => pane.current?.setWindow(wanted), [wanted?.center, wanted?.width]);

  useEffect(() => {
    // In the next frame: what is drawn anew within the observation counts as a loop.
    let next = 0;
    const observer = new ResizeObserver(() => {
      cancelAnimationFrame(next);
      next = requestAnimationFrame(() => pane.current?.resize());
    });
    observer.observe(element.current!);
    return () => {
      cancelAnimationFrame(next);
      observer.disconnect();
    };
  }, []);

  /** The finding whose box a point of the pane is in. */
  const inside = (at: [number, number]): string | null => {
    const opened = pane.current;
    return opened === null || opened.index !== index || instance === undefined ? null : boxAt(opened, latest.current.boxes, at, instance.columns, instance.rows);
  };
  const reach = (): Reach => {
    const { activate, turn, setWindow, draw, measured, choose } = latest.current;
    return {
      pane: () => pane.current, tool, columns: instance?.columns ?? 1, rows: instance?.rows ?? 1, frames: stack.frames.length, index,
      activate, turn, setWindow, setMeasure, measured: (line) => measured(length(line, spacing).mm), draw,
      click: (at, on) => {
        const id = on ?? inside(at);
        if (id !== null) choose(id);
      },
    };
  };
  const now = useRef(reach);
  now.current = reach;
  const pointers = useRef<Pointers | null>(null);
  useLayoutEffect(() => {
    pointers.current = new Pointers(element.current!.parentElement!, element.current!, () => now.current());
  }, []);

  const over = (id: string | null) => {
    if (id === pointed) return;
    setPointed(id);
    props.hover(id);
  };
  /** A pointer that does nothing else points at the box that it is in; a finger points at nothing until it taps. */
  const point = (event: PointerEvent) => {
    if (event.pointerType !== 'touch' && event.buttons === 0 && pointers.current !== null) over(tool === 'look' ? inside(pointers.current.at(event)) : null);
  };

  const wheel = useRef(0);
  useEffect(() => {
    const target = element.current!.parentElement!;
    const turned = (event: WheelEvent) => {
      event.preventDefault();
      const { stack: shown, index: place, turn } = latest.current;
      if (event.ctrlKey || event.metaKey || shown.frames.length === 1) {
        const { left, top } = target.getBoundingClientRect();
        pane.current?.zoom(Math.exp(-event.deltaY / 400), [event.clientX - left, event.clientY - top]);
        return;
      }
      // A notch of a wheel is one slice; a touchpad's small steps add up to one.
      wheel.current += event.deltaMode === 1 ? event.deltaY * 33 : event.deltaY;
      const steps = Math.trunc(wheel.current / 50);
      if (steps !== 0) {
        wheel.current = 0;
        turn(Math.min(shown.frames.length - 1, Math.max(0, place + (Math.abs(steps) > 2 ? steps - Math.sign(steps) : Math.sign(steps)))));
      }
    };
    target.addEventListener('wheel', turned, { passive: false });
    return () => target.removeEventListener('wheel', turned);
  }, []);

  const spacing: [number, number] | null = instance?.spacing && instance.spacing_is_calibrated ? [instance.spacing[0]!, instance.spacing[1]!] : null;
  const letters = instance === undefined ? null : lettersOf(instance);
  const current = pane.current?.currentWindow() ?? null;
  const several = stack.frames.length > 1;
  /** Turns to where the track beside the image is pressed. */
  const slide = (event: PointerEvent) => {
    const track = event.currentTarget as HTMLElement;
    if (event.type === 'pointerdown') {
      event.preventDefault();
      // It is no stroke over the image.
      event.stopPropagation();
      track.setPointerCapture(event.pointerId);
      props.activate();
    } else if (!track.hasPointerCapture(event.pointerId)) return;
    const { top, height } = track.getBoundingClientRect();
    props.turn(Math.round(((event.clientY - top) / Math.max(1, height)) * (stack.frames.length - 1)));
  };
  // Reports name what is no view by its number.
  const numbered = frame === undefined || (!several && instance?.view_position) ? '' : imageName(frame);
  const name = `${stack.prior === null ? '' : `${stack.prior} study ${date(stack.date)}${stack.of === null ? '' : ` of ${stack.of}`}, `}${stack.label}${several ? `, slice ${index + 1} of ${stack.frames.length}` : ''}${numbered === '' ? '' : `, ${numbered}`}`;
  return (
    <section class={`pane ${active ? 'active' : ''} ${stack.prior === null ? '' : 'prior'}`} aria-label={name} data-ready={pane.current !== null && pane.current.index === index}
      onPointerDown={(event) => pointers.current?.down(event)} onContextMenu={(event) => event.preventDefault()}>
      <div class={`image tool-${tool} ${pointed === null ? '' : 'over-box'}`} ref={element} role="img" aria-label={`Image: ${name}`}
        onDblClick={() => pane.current?.fit()}
        onPointerMove={(event) => {
          point(event);
          const pixel = pointers.current === null ? undefined : pane.current?.toPixel(pointers.current.at(event));
          const value = pixel ? pane.current?.valueAt(pixel) : null;
          setProbe(value === null || value === undefined ? '' : stack.kind === 'ct' ? `${Math.round(value)} HU` : `${Math.round(value)}`);
        }}
        onPointerLeave={() => { setProbe(''); over(null); }}
      />
      {pane.current !== null && pane.current.index === index && instance !== undefined && (
        <Overlay pane={pane.current} columns={instance.columns} rows={instance.rows} boxes={boxes} drawing={drawing} measure={measure} spacing={spacing} isHeld={tool !== 'look'} hover={over} />
      )}
      <div class="corner top-left">
        {stack.prior !== null ? <b class="is-prior">{stack.prior === 'earlier' ? 'PRIOR' : 'LATER'} {date(stack.date) || 'no date'}{stack.of !== null && <> of <bdi>{stack.of}</bdi></>}</b> : <span><b>{props.besides ? 'CURRENT ' : ''}</b>{date(stack.date)}</span>}
        <span>{stack.label}</span>
        <span class="dim" dir="auto">{stack.description}</span>
      </div>
      <div class="corner top-right">
        {stack.kind !== 'ct' && spacing === null && <span class="dim">mm not calibrated</span>}
        {several && loaded < stack.frames.length && loaded > 0 && <span class="dim">{loaded} of {stack.frames.length} loaded</span>}
      </div>
      <div class="corner bottom-left">
        {(several || numbered !== '') && <span>{[...(several ? [`${index + 1} / ${stack.frames.length}`] : []), ...(numbered === '' ? [] : [numbered])].join(' · ')}</span>}
        <span class="dim">{current === null ? '' : pane.current?.isByTable ? 'table of the header' : `C ${Math.round(current.center)} W ${Math.round(current.width)}`} {pane.current === null || pane.current.index < 0 ? '' : `· ${Math.round(pane.current.zoomFactor * 100)} %`}</span>
      </div>
      <div class="corner bottom-right"><span class="dim">{probe}</span></div>
      {letters && <><i class="letter l">{letters.left}</i><i class="letter r">{letters.right}</i><i class="letter t">{letters.top}</i><i class="letter b">{letters.bottom}</i></>}
      {several && <div class="track" aria-hidden="true" onPointerDown={slide} onPointerMove={slide}><div class="thumb" style={{ top: `${(index / Math.max(1, stack.frames.length - 1)) * 100}%` }} />{props.marks.map((place) => <i key={place} style={{ top: `${(place / Math.max(1, stack.frames.length - 1)) * 100}%` }} />)}</div>}
      {problem !== '' && <p class="pane-problem" role="alert">This image cannot be shown: {problem}</p>}
    </section>
  );
}
