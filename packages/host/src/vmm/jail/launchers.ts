import { Spares } from "../spares.ts";
import type { Isolation } from "./isolation.ts";
import { Launcher } from "./launcher.ts";

const isAlive = (launcher: Launcher) => launcher.process.isAlive;

/** Of this process: engines come and go. */
const LAUNCHERS = {
  ownView: new Spares(() => Launcher.start({ ownView: true }), isAlive),
  hostView: new Spares(() => Launcher.start({ ownView: false }), isAlive),
};

/** Launchers of VMMs that are alone in a network namespace of their own, or not locked up at all. */
export const launchersFor = ({ ownView }: Isolation): Spares<Launcher> =>
  ownView ? LAUNCHERS.ownView : LAUNCHERS.hostView;
