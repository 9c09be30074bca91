// `express4` is express 4 under another name; the tests use only what both versions have, so they share the types of 5.
declare module 'express4' {
  import express from 'express';
  export default express;
}
