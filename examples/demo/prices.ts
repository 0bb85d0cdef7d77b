/**
 * Real prices: monthly closes of five stocks from 2000 to 2010, as the npm package
 * `vega-datasets` ships them.
 */
import { readFile } from "node:fs/promises";

/** One closing price. */
export interface Price {
  /** The ticker, such as `MSFT`. */
  readonly symbol: string;
  readonly time: Date;
  /** In US dollars. */
  readonly close: number;
}

/** Reads all prices, by symbol and in the order of time. */
export async function readPrices(): Promise<readonly Price[]> {
  const file = new URL("../data/stocks.csv", import.meta.resolve("vega-datasets"));
  const [, ...lines] = (await readFile(file, "utf8")).trim().split("\n");
  return lines.map((line) => {
    const [symbol = "", date = "", close = ""] = line.trim().split(",");
    return { symbol, time: new Date(`${date} UTC`), close: Number(close) };
  });
}
