/** What a run did, for people: how many cases of each kind, and how far they got. */
import { STAGES, type Stage } from "./answers/judge.ts";

/** Counts by kind of case and by stage. */
export class Report {
  readonly #counts = new Map<string, Map<Stage, number>>();
  readonly #reasons = new Map<string, number>();

  count(kind: string, stage: Stage, reason: string | undefined): void {
    const row = this.#counts.get(kind) ?? new Map<Stage, number>();
    this.#counts.set(kind, row.set(stage, (row.get(stage) ?? 0) + 1));
    if (reason !== undefined) this.#reasons.set(reason, (this.#reasons.get(reason) ?? 0) + 1);
  }

  /** The share of the cases of these kinds that got as far as one of these stages. */
  share(kinds: readonly string[], stages: readonly Stage[]): number {
    const all = this.#sum(kinds, STAGES);
    return all === 0 ? 0 : this.#sum(kinds, stages) / all;
  }

  #sum(kinds: readonly string[], stages: readonly Stage[]): number {
    let sum = 0;
    for (const kind of kinds)
      for (const stage of stages) sum += this.#counts.get(kind)?.get(stage) ?? 0;
    return sum;
  }

  /** A table, and the reasons by how often they were given. */
  text(): string {
    const kinds = [...this.#counts.keys()].sort();
    const width = Math.max(...kinds.map(({ length }) => length), 0);
    const columns = STAGES.map((stage) => stage.padStart(Math.max(stage.length, 7)));
    const rows = kinds.map((kind) =>
      [
        kind.padEnd(width),
        ...STAGES.map((stage, at) =>
          `${this.#sum([kind], [stage])}`.padStart(columns[at]?.length ?? 0),
        ),
      ].join("  "),
    );
    const reasons = [...this.#reasons].sort(([, one], [, other]) => other - one);
    return [
      ["".padEnd(width), ...columns].join("  "),
      ...rows,
      reasons.map(([reason, count]) => `${reason} ${count}`).join(", "),
    ].join("\n");
  }
}
