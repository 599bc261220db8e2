/** A point that wants a label, in pixels. */
export interface LabelledPoint {
  /** From the left. */
  readonly x: number;
  /** From the top. */
  readonly y: number;
  /** The label. */
  readonly text: string;
}

/** Where a label goes: the middle of its text, in pixels. */
export interface PlacedLabel {
  /** Middle of the text, from the left. */
  readonly x: number;
  /** Middle of the text, from the top. */
  readonly y: number;
  /** Whether it is so far from its point that a line must lead to it. */
  readonly far: boolean;
  /** Whether there was no room: it covers another label, or lies beyond the edge. */
  readonly crowded: boolean;
}

/** The room that labels have, in pixels. */
export interface LabelArea {
  /** Left edge. */
  readonly left: number;
  /** Top edge. */
  readonly top: number;
  /** Right edge. */
  readonly right: number;
  /** Bottom edge. */
  readonly bottom: number;
}

/** Width of a character of the font of the plots, at 12 pixels: an upper estimate, as fonts differ. */
const CHARACTER = 6.7;
const HEIGHT = 14;
/** Share of a label that others may lie on: characters are taken for wider than they are. */
const SLIGHT = 0.1;
/** Half the side of a symbol, with some air. */
const SYMBOL = 6;

interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

function overlap(one: Box, other: Box): number {
  const width = Math.min(one.right, other.right) - Math.max(one.left, other.left);
  const height = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
  return width > 0 && height > 0 ? width * height : 0;
}

function boxAround(x: number, y: number, width: number): Box {
  return { left: x - width / 2, right: x + width / 2, top: y - HEIGHT / 2, bottom: y + HEIGHT / 2 };
}

function squareAround({ x, y }: Pick<LabelledPoint, 'x' | 'y'>): Box {
  return { left: x - SYMBOL, right: x + SYMBOL, top: y - SYMBOL, bottom: y + SYMBOL };
}

/** From a point to the nearest edge of a box. */
function distance(box: Box, { x, y }: Pick<LabelledPoint, 'x' | 'y'>): number {
  return Math.hypot(Math.max(box.left - x, 0, x - box.right), Math.max(box.top - y, 0, y - box.bottom));
}

/** Places around a point: beside it, above and below, then in widening rings. */
function* places(point: LabelledPoint, width: number): Generator<Omit<PlacedLabel, 'crowded'>> {
  const side = width / 2 + SYMBOL + 2;
  for (let ring = 0; ring < 7; ring++) {
    const lift = SYMBOL + HEIGHT / 2 + ring * HEIGHT;
    const far = ring > 0;
    if (ring === 0) {
      yield { x: point.x + side, y: point.y, far };
      yield { x: point.x - side, y: point.y, far };
    }
    for (const shift of [0, side * 0.8, -side * 0.8, side * 1.4, -side * 1.4])
      for (const direction of [-1, 1])
        yield { x: point.x + shift, y: point.y + direction * lift, far: far || Math.abs(shift) > side };
  }
}

/**
 * Places labels beside their points so that they cover neither each other nor a point, as far as there is room: one
 * after the other, each where it covers least and is nearest. The first ones have the choice. The time it takes
 * grows with the square of their number.
 *
 * @param obstacles small points that labels should rather not cover
 */
export function placeLabels(
  points: readonly LabelledPoint[],
  area: LabelArea,
  obstacles: readonly Pick<LabelledPoint, 'x' | 'y'>[] = [],
): readonly PlacedLabel[] {
  const symbols = points.map(squareAround);
  const dots = obstacles.map(squareAround);
  const taken: Box[] = [];
  return points.map((point) => {
    const width = point.text.length * CHARACTER;
    let best: PlacedLabel = { x: point.x, y: point.y, far: false, crowded: false };
    let least = Number.POSITIVE_INFINITY;
    let order = 0;
    for (const place of places(point, width)) {
      order++;
      const box = boxAround(place.x, place.y, width);
      const outside =
        Math.max(0, area.left - box.left) +
        Math.max(0, box.right - area.right) +
        Math.max(0, area.top - box.top) +
        Math.max(0, box.bottom - area.bottom);
      let covered = 0;
      for (const label of taken) covered += overlap(box, label);
      let cost = 4 * order + 40 * outside + 3 * covered;
      for (const symbol of symbols) cost += overlap(box, symbol);
      for (const dot of dots) cost += 0.2 * overlap(box, dot);
      // A label must not look like that of another point.
      const own = distance(box, point);
      for (const other of points)
        if (other !== point && distance(box, other) <= own + 2) cost += place.far ? 15 : 120;
      if (cost < least) {
        least = cost;
        best = { ...place, crowded: covered > SLIGHT * width * HEIGHT || outside > SYMBOL };
      }
    }
    taken.push(boxAround(best.x, best.y, width));
    return best;
  });
}
