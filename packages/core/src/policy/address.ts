import type { TextMatcher } from './match.js';

/** An address as four 32-bit words; IPv4 fills the first alone. */
type Words = Uint32Array;

const colon = 0x3a;

/** The IPv4 address that stands between `from` and `to`, or -1. Leading zeros are refused, as inet_pton does. */
function parseIpv4(text: string, from: number, to: number): number {
  let address = 0;
  let octet = -1;
  let octets = 1;
  for (let at = from; at < to; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 0x2e) {
      if (octet === -1 || octets === 4) return -1;
      address = address * 256 + octet;
      octet = -1;
      octets += 1;
    } else {
      if (code < 0x30 || code > 0x39 || octet === 0) return -1;
      octet = (octet === -1 ? 0 : octet * 10) + (code - 0x30);
      if (octet > 255) return -1;
    }
  }
  return octets === 4 && octet !== -1 ? address * 256 + octet : -1;
}

function hexValue(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

const groups = new Uint16Array(8);

/** Moves the groups behind `::` to the end; false when there is nothing that it could stand for. */
function closeGap(gap: number, count: number): boolean {
  if (gap === -1) return count === 8;
  if (count > 7) return false;
  const behind = count - gap;
  groups.copyWithin(8 - behind, gap, count);
  groups.fill(0, gap, 8 - behind);
  return true;
}

/** Reads the IPv4 address that ends an IPv6 one as its groups `count` and `count + 1`; false when it does not fit. */
function readEmbedded(text: string, from: number, to: number, count: number): boolean {
  const embedded = count > 6 ? -1 : parseIpv4(text, from, to);
  groups[count] = embedded >>> 16;
  groups[count + 1] = embedded & 0xffff;
  return embedded !== -1;
}

/** Reads the groups of an IPv6 address into `groups`; false when the text is none. */
function readGroups(text: string, to: number): boolean {
  groups.fill(0);
  let count = 0;
  let gap = -1;
  let at = 0;
  if (text.startsWith('::')) {
    gap = 0;
    at = 2;
  }
  while (at < to) {
    const start = at;
    let value = 0;
    for (
      let digit = hexValue(text.charCodeAt(at));
      digit !== -1 && at < to && at - start < 5;
      digit = hexValue(text.charCodeAt(at))
    ) {
      value = value * 16 + digit;
      at += 1;
    }
    if (at < to && text[at] === '.') return readEmbedded(text, start, to, count) && closeGap(gap, count + 2);
    if (at === start || at - start > 4 || count === 8) return false;
    groups[count] = value;
    count += 1;
    if (at === to) break;
    if (text.charCodeAt(at) !== colon || at + 1 === to) return false;
    at += 1;
    if (text.charCodeAt(at) === colon) {
      if (gap !== -1) return false;
      gap = count;
      at += 1;
    }
  }
  return closeGap(gap, count);
}

/**
 * Reads an IP address into `words` without allocating; a zone (`%eth0`) is passed over. Returns 4, 6, or 0 when the text is no address.
 * An IPv4-mapped address is IPv6 here: unmapping is the connection's business.
 */
export function readAddress(text: string, words: Words): 0 | 4 | 6 {
  if (!text.includes(':')) {
    const address = parseIpv4(text, 0, text.length);
    if (address === -1) return 0;
    words[0] = address;
    return 4;
  }
  const zone = text.indexOf('%');
  if (!readGroups(text, zone === -1 ? text.length : zone)) return 0;
  for (let word = 0; word < 4; word += 1) words[word] = ((groups[word * 2] as number) << 16) | (groups[word * 2 + 1] as number);
  return 6;
}

/** An address range: those words of an address of this family that the masks keep are equal. */
interface Block {
  readonly family: 4 | 6;
  readonly network: Words;
  readonly masks: Words;
}

function maskWord(bits: number): number {
  return bits <= 0 ? 0 : bits >= 32 ? 0xffffffff : (0xffffffff << (32 - bits)) >>> 0;
}

/** An address or CIDR range; undefined when it is neither. Bits behind the prefix do not count. */
function parseBlock(text: string): Block | undefined {
  const at = text.indexOf('/');
  const network = new Uint32Array(4);
  const address = at === -1 ? text : text.slice(0, at);
  const family = address.includes('%') ? 0 : readAddress(address, network);
  if (family === 0) return undefined;
  const longest = family === 4 ? 32 : 128;
  let bits = longest;
  if (at !== -1) {
    const length = text.slice(at + 1);
    bits = Number(length);
    if (!/^\d{1,3}$/.test(length) || bits > longest) return undefined;
  }
  const masks = Uint32Array.from([0, 1, 2, 3], (word) => maskWord(bits - word * 32));
  return { family, masks, network: network.map((word, index) => word & (masks[index] as number)) };
}

const scratch = new Uint32Array(4);

function isInside(block: Block, words: Words): boolean {
  const length = block.family === 4 ? 1 : 4;
  for (let word = 0; word < length; word += 1) {
    if (((words[word] as number) & (block.masks[word] as number)) >>> 0 !== block.network[word]) return false;
  }
  return true;
}

/** Values of `ipBlocks` and its kin, addresses or CIDR ranges, against an address in text form; undefined when a value is neither. */
export function compileBlocks(values: readonly string[]): TextMatcher | undefined {
  const blocks = values.map(parseBlock).filter((block) => block !== undefined);
  if (blocks.length !== values.length) return undefined;
  return (text) => {
    const family = readAddress(text, scratch);
    for (const block of blocks) if (block.family === family && isInside(block, scratch)) return true;
    return false;
  };
}
