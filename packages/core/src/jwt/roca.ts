// The primes below 168: keys of the broken generator (CVE-2017-15361) are powers of 65537 modulo every one of them.
const primes = [
  3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131,
  137, 139, 149, 151, 157, 163, 167,
];

/**
 * Whether an RSA modulus bears the fingerprint of the ROCA key generator (CVE-2017-15361), whose private keys can be computed from the public
 * ones. `modulus` is big-endian. A sound key is taken for such a one less than once in 10^8.
 */
export function isRocaModulus(modulus: Uint8Array): boolean {
  if (modulus.length === 0) return false;
  const n = BigInt(`0x${Buffer.from(modulus).toString('hex')}`);
  return primes.every((prime) => isPowerOf65537(Number(n % BigInt(prime)), prime));
}

function isPowerOf65537(residue: number, prime: number): boolean {
  let power = 1;
  do {
    if (power === residue) return true;
    power = (power * 65537) % prime;
  } while (power !== 1);
  return false;
}
