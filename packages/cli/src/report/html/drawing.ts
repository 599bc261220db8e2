import type { Markish, PlotOptions, ScaleOptions } from '@observablehq/plot';
import { type Html, trusted } from './markup.ts';

/** The library of plots; loaded only where something is drawn. */
export type PlotLibrary = typeof import('@observablehq/plot');

/** A plot to draw. */
export interface PlotSpec {
  /** What it shows, in words, for those who do not see it; `null` where the text beside it says so. */
  readonly label: string | null;
  /** Width in pixels. */
  readonly width: number;
  /** Height in pixels. */
  readonly height: number;
  /** Room for the axes, in pixels; default as the library has it. */
  readonly margins?:
    | Pick<PlotOptions, 'marginTop' | 'marginRight' | 'marginBottom' | 'marginLeft'>
    | undefined;
  /** Horizontal scale; `axis: null` draws none. */
  readonly x?: ScaleOptions | undefined;
  /** Vertical scale; `axis: null` draws none. */
  readonly y?: ScaleOptions | undefined;
  /** What is drawn, the lowest first. */
  readonly marks: readonly Markish[];
}

/** Draws plots as inline SVG, in the colours of the page. */
export interface Drawing {
  /** The library, for marks. */
  readonly library: PlotLibrary;
  /** Draws a plot. */
  svg(spec: PlotSpec): Html;
}

/** Loads the library of plots and a document to draw in. */
export async function openDrawing(): Promise<Drawing> {
  const [library, { parseHTML }] = await Promise.all([import('@observablehq/plot'), import('linkedom')]);
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  return {
    library,
    svg: ({ label, width, height, margins, x, y, marks }) => {
      const drawn = library.plot({
        document,
        className: 'plot',
        width,
        height,
        ...margins,
        x: { ...x },
        y: { ...y },
        // Colours and symbols are given as they are drawn.
        color: { type: 'identity' },
        symbol: { type: 'identity' },
        marks: [...marks],
      });
      // The style sheet of the page has what the library would repeat in every drawing.
      drawn.querySelector('style')?.remove();
      // Parts of an image have no names of their own; what marks they are stays as their class.
      for (const part of drawn.querySelectorAll('[aria-label]')) {
        const kind = part.getAttribute('aria-label')?.replaceAll(' ', '-') ?? '';
        part.setAttribute('class', [part.getAttribute('class'), kind].filter(Boolean).join(' '));
        part.removeAttribute('aria-label');
        part.removeAttribute('aria-hidden');
      }
      if (label === null) drawn.setAttribute('aria-hidden', 'true');
      else {
        drawn.setAttribute('role', 'img');
        drawn.setAttribute('aria-label', label);
      }
      drawn.setAttribute('font-size', '12');
      return trusted(shortNumbers(drawn.outerHTML));
    },
  };
}

/** Coordinates to a hundredth of a pixel: a third of the size. */
function shortNumbers(svg: string): string {
  return svg.replaceAll(
    /(<(?:path|circle|rect|line|text|g)\b)([^>]*)>/g,
    (_tag, start: string, attributes: string) => {
      const rounded = attributes.replaceAll(
        /\b((?:d|transform|x|y|x1|x2|y1|y2|cx|cy|width|height)=")([^"]*)"/g,
        (_attribute, name: string, value: string) =>
          `${name}${value.replaceAll(/\d+\.\d{3,}/g, (number) => String(Number(Number(number).toFixed(2))))}"`,
      );
      return `${start}${rounded}>`;
    },
  );
}
