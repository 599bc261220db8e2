/** Something a pass left alone, and why. */
export interface Skip {
  /** Node or value name. */
  readonly target: string;
  /** Short stable code, such as `weight-not-constant`. */
  readonly code: string;
  /** Why, as a clause. */
  readonly reason: string;
}

/** A number in a report. */
export interface Metric {
  /** The number. */
  readonly value: number;
  /** Its unit: `bytes`, `nodes`, `dB`, `ms`, `ratio`. */
  readonly unit: string;
}

/** A column of a {@link ReportTable}. */
export interface ReportColumn {
  /** Heading. */
  readonly name: string;
  /** Unit of its numbers; `''` for texts and plain numbers. */
  readonly unit: string;
}

/** How a table is best drawn. */
export interface ReportPlot {
  /** Lines and points of numbers over a number; bars of numbers over names. */
  readonly kind: 'line' | 'points' | 'bars';
  /** Column along the horizontal axis. */
  readonly x: string;
  /** Columns that are drawn. */
  readonly y: readonly string[];
}

/** Figures of many places at once, such as the error of every layer. */
export interface ReportTable {
  /** What it shows. */
  readonly title: string;
  /** Columns, in order. */
  readonly columns: readonly ReportColumn[];
  /** One cell per column. */
  readonly rows: readonly (readonly (string | number)[])[];
  /** How it is drawn in a report; as a table alone by default. */
  readonly plot?: ReportPlot | undefined;
}

/** What a pass says it did. */
export interface PassReport {
  /** Whether the model differs from before. */
  readonly changed: boolean;
  /** What was done, one entry per place: `fold BatchNormalization "bn1" into "conv1"`. */
  readonly applied: readonly string[];
  /** What was left alone and why. Never silent: a place the pass was meant for and did not treat is listed. */
  readonly skipped: readonly Skip[];
  /** Figures. */
  readonly metrics: Readonly<Record<string, Metric>>;
  /** Tables of figures by name; left out where there are none. */
  readonly tables?: Readonly<Record<string, ReportTable>> | undefined;
}

/** Collects a {@link PassReport}. */
export class ReportBuilder {
  readonly #applied: string[] = [];
  readonly #skipped: Skip[] = [];
  readonly #metrics: Record<string, Metric> = {};
  readonly #tables: Record<string, ReportTable> = {};

  /** Notes one change. */
  apply(what: string): void {
    this.#applied.push(what);
  }

  /** Notes one place left alone. */
  skip(target: string, code: string, reason: string): void {
    this.#skipped.push({ target, code, reason });
  }

  /** Notes a figure. */
  metric(name: string, value: number, unit: string): void {
    this.#metrics[name] = { value, unit };
  }

  /** Notes a table of figures. */
  table(name: string, table: ReportTable): void {
    this.#tables[name] = table;
  }

  /** Number of changes so far. */
  get appliedCount(): number {
    return this.#applied.length;
  }

  /** The report; changed when anything was applied. */
  build(): PassReport {
    return {
      changed: this.#applied.length > 0,
      applied: this.#applied,
      skipped: this.#skipped,
      metrics: this.#metrics,
      ...(Object.keys(this.#tables).length === 0 ? {} : { tables: this.#tables }),
    };
  }
}

/** What the runner measured of one pass. */
export interface StepReport extends PassReport {
  /** `namespace/name`. */
  readonly pass: string;
  /** Version of the pass. */
  readonly version: number;
  /** Options as given, for replay. */
  readonly options: unknown;
  /** Time it took. */
  readonly milliseconds: number;
  /** What the numeric check found; `undefined` when it was not run, with the reason. */
  readonly check: DriftCheck | undefined;
  /** Why no check was run. */
  readonly unchecked: string | undefined;
}

/** Difference between the outputs before and after a pass, on the inputs that the runner was given. */
export interface DriftCheck {
  /** Largest absolute difference over all outputs. */
  readonly maxAbs: number;
  /** Largest difference relative to the largest magnitude of the output. */
  readonly maxRelative: number;
  /** Signal to quantization-noise ratio in decibels, worst output; infinite when equal. */
  readonly sqnrDb: number;
  /** Number of sample sets compared. */
  readonly samples: number;
}

/** What {@link optimize} did. */
export interface OptimizeReport {
  /** One entry per pass, in order. */
  readonly steps: readonly StepReport[];
}
