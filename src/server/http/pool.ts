/**
 * A number of places that all callers share, strangers too: connections, requests, watches.
 *
 * While there is room, nobody is limited: a proxy or a NAT makes one address of many honest
 * callers, and a limit for each address would lock them out. When all places are taken, a
 * newcomer is not refused, which would let those who came first keep everybody out. It
 * displaces one that is there, who is chosen in this order:
 *
 * 1. Those who have proven nothing go before those who have.
 * 2. Of them, one of the address that holds most places.
 * 3. Of its places, the one that was taken longest ago; of proven ones, the one whose last
 *    proof is longest ago.
 *
 * An honest caller proves itself within moments. So whoever floods the pool displaces
 * mostly itself, also where it shares the honest caller's address: to hit an honest caller,
 * all places have to be filled anew in these moments.
 */
import { Shares } from "./shares.ts";

/** One place in a {@link Pool}. */
export interface Place {
  /** Notes that whoever has it has (again) proven who they are. */
  prove(): void;
  /** Gives it back. A second time does nothing. */
  leave(): void;
}

/** Places that are shared as described above. */
export interface Pool {
  /**
   * Takes a place, if need be from somebody else.
   *
   * @param address by `addressKey`.
   * @param displace is called if the place is given to another; it is left by then.
   */
  enter(address: string, displace: () => void): Place;
}

interface Taken extends Place {
  displace(): void;
}

/** Makes a pool. @param places at least 1. */
export function createPool(places: number): Pool {
  const unproven = new Shares<Taken>();
  const proven = new Shares<Taken>();
  let taken = 0;
  function displaceOne(): void {
    const [victim] = unproven.ofGreediest();
    const [provenVictim] = victim === undefined ? proven.ofGreediest() : [];
    const displaced = victim ?? provenVictim;
    displaced?.leave();
    displaced?.displace();
  }
  return {
    enter(address, displace) {
      if (taken >= places) displaceOne();
      let shares: Shares<Taken> | undefined = unproven;
      function move(to: Shares<Taken> | undefined): void {
        shares?.remove(address, place, 1);
        to?.add(address, place, 1);
        shares = to;
      }
      const place: Taken = {
        displace,
        prove() {
          if (shares !== undefined) move(proven);
        },
        leave() {
          if (shares === undefined) return;
          move(undefined);
          taken -= 1;
        },
      };
      unproven.add(address, place, 1);
      taken += 1;
      return place;
    },
  };
}
