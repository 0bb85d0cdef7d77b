/** Reads metrics as a monitoring system does: over HTTP, from the text format. */
import { eventually } from "../../support/eventually.ts";

/** The values of one scrape. */
export interface Scrape {
  /** The whole text. */
  readonly text: string;
  /**
   * The sum of all samples of this name that have at least these labels; 0 if there are
   * none.
   */
  sum(name: string, labels?: Readonly<Record<string, string>>): number;
  /** The values of one label of this metric. */
  labelValues(name: string, label: string): string[];
}

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const SAMPLE = /^([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? (\S+)$/i;
const LABEL = /([a-z_]+)="((?:[^"\\]|\\.)*)"/g;

/** @throws Error if it is not answered with metrics. */
export async function scrape(opsUrl: string | undefined): Promise<Scrape> {
  const response = await fetch(`${opsUrl}/metrics`);
  const text = await response.text();
  if (response.status !== 200) throw new Error(`no metrics: ${text}`);
  const samples = text.split("\n").flatMap(sampleOf);
  return {
    text,
    sum: (name, labels = {}) =>
      samples
        .filter((sample) => sample.name === name && hasLabels(sample, labels))
        .reduce((sum, { value }) => sum + value, 0),
    labelValues: (name, label) => [
      ...new Set(
        samples.filter((sample) => sample.name === name).map(({ labels }) => labels[label] ?? ""),
      ),
    ],
  };
}

/** The metrics as soon as so many requests are counted, which is a moment after their answers. */
export async function scrapeAfter(
  { opsUrl }: { readonly opsUrl: string | undefined },
  requestCount: number,
): Promise<Scrape> {
  let last = await scrape(opsUrl);
  await eventually(`${requestCount} requests are counted`, async () => {
    last = await scrape(opsUrl);
    return last.sum("countersign_requests_total") >= requestCount;
  });
  return last;
}

function hasLabels({ labels }: Sample, wanted: Readonly<Record<string, string>>): boolean {
  return Object.entries(wanted).every(([name, value]) => labels[name] === value);
}

function sampleOf(line: string): Sample[] {
  if (line === "" || line.startsWith("#")) return [];
  const [, name, labelText = "", value] = SAMPLE.exec(line) ?? [];
  if (name === undefined) throw new Error(`not a sample: ${line}`);
  const labels = [...labelText.matchAll(LABEL)].map(([, label, text]) => [label, text]);
  return [{ name, labels: Object.fromEntries(labels), value: Number(value) }];
}
