import { describe, expect, it } from 'vitest';
import { GraphBuilder } from '../builder/graph-builder.ts';
import type { Model } from '../ir/model.ts';
import { Model as ModelOf } from '../ir/model.ts';
import type { Node } from '../ir/node.ts';
import {
  noFunctions,
  noOperator,
  noSubgraphs,
  opsetAtLeast,
  shapesInferred,
  staticShapes,
  topologicallySorted,
  validModel,
} from './invariants.ts';

async function model(): Promise<Model> {
  const b = new GraphBuilder();
  const x = b.input('x', 'float32', ['N', 2]);
  const go = b.input('go', 'bool', []);
  const [y] = b.op.If([go], {
    then_branch: (body) => [body.op.Neg([x])],
    else_branch: (body) => [body.op.Exp([x])],
  });
  b.output('y', b.op.Relu([y ?? null]));
  return b.build();
}

describe('invariants', () => {
  it('hold for a sound model', async () => {
    const sound = await model();
    for (const one of [
      validModel,
      topologicallySorted,
      noFunctions,
      shapesInferred,
      opsetAtLeast(13),
      noOperator('Conv'),
    ]) {
      expect(one.check(sound), one.name).toEqual([]);
    }
  });

  it('tell every way in which they are broken', async () => {
    const broken = await model();
    expect(noSubgraphs.check(broken)).toEqual(['Node "If_0" (If) holds a subgraph.']);
    expect(noOperator('Exp').check(broken)).toEqual(['Node "Exp_0" is a Exp.']);
    expect(staticShapes.check(broken).length).toBe(3);
    expect(opsetAtLeast(22).check(broken)).toEqual([
      'The model has opset 21 of ai.onnx; at least 22 is needed.',
    ]);
    const [choice, relu] = [...broken.graph.nodes()] as [Node, Node];
    relu.output().type = undefined;
    expect(shapesInferred.check(broken)).toEqual([
      'The type of "y", made by node "Relu_0" (Relu), is not known; infer shapes first.',
    ]);
    broken.graph.move(choice, {});
    expect(topologicallySorted.check(broken)).toEqual([
      `Node "Relu_0" reads "${choice.output().name}" before node "If_0" makes it.`,
    ]);
    expect(validModel.check(broken).length).toBe(1);
    const { graph } = broken;
    const fn = {
      domain: 'd',
      name: 'f',
      overload: '',
      graph,
      attributes: [],
      attributeDefaults: new Map(),
      opsetImports: new Map(),
      docString: undefined,
      props: new Map(),
    };
    expect(noFunctions.check(new ModelOf({ graph, functions: [fn] }))).toEqual([
      'The model defines the function "d.f".',
    ]);
  });
});
