import { describe, expect, it } from 'vitest';
import { createProblemList, createReport, problemLimit } from './report.js';

describe('createReport', () => {
  const text = 'a: 1\r\nbb: 2\n\nccc: 3';
  it.each([
    [0, 1, 1],
    [3, 1, 4],
    [6, 2, 1],
    [10, 2, 5],
    [12, 3, 1],
    [13, 4, 1],
    [18, 4, 6],
  ])('finds offset %i on line %i, column %i', (offset, line, column) => {
    expect(createReport('f', text, createProblemList()).positionOf(offset)).toEqual({ line, column });
  });
});

describe('createProblemList', () => {
  it('keeps a bounded number of problems and counts every error', () => {
    const list = createProblemList();
    const report = createReport('f', '', list);
    for (let i = 0; i < problemLimit + 10; i++) report.error(0, '', 'ENMESH_CONFIG_SYNTAX', `${i}`);
    expect(list.problems).toHaveLength(problemLimit);
    expect(list.errors).toBe(problemLimit + 10);
  });

  it('makes room for an error among warnings', () => {
    const list = createProblemList();
    const report = createReport('f', '', list);
    for (let i = 0; i < problemLimit; i++) report.warn(0, '', 'ENMESH_CONFIG_DOUBTFUL', 'w');
    report.error(0, '', 'ENMESH_CONFIG_SYNTAX', 'e');
    expect(list.problems).toHaveLength(problemLimit);
    expect(list.problems.filter((problem) => problem.level === 'error')).toHaveLength(1);
  });
});
