"""Makes small.onnx and the values beside it: a CNN exported by PyTorch 2.15, its features and the squared norms of its Jacobian."""
import torch, torch.nn as nn, json, onnx, numpy as np, os
torch.manual_seed(3)
class Net(nn.Module):
    def __init__(s):
        super().__init__()
        s.a=nn.Conv2d(2,4,3,stride=2,padding=1); s.bn=nn.BatchNorm2d(4); s.b=nn.Conv2d(4,6,3,padding=1,groups=2,bias=False)
        s.down=nn.Conv2d(4,6,1); s.mp=nn.MaxPool2d(3,2,1); s.ap=nn.AvgPool2d(2); s.l=nn.Linear(12,5); s.head=nn.Linear(5,3)
    def feat(s,x):
        x=torch.relu(s.bn(s.a(x)))
        y=torch.tanh(s.b(x))+torch.sigmoid(s.down(x))*0.5
        z=s.mp(y); g=z.mean((2,3)); q=s.ap(z).flatten(1)
        return torch.nn.functional.softplus(s.l(torch.cat([g,q],1)))
    def forward(s,x): return s.head(s.feat(x))
n=Net().eval()
with torch.no_grad():
    n.bn.running_mean.normal_(); n.bn.running_var.uniform_(.5,1.5); n.bn.weight.uniform_(.5,1.5); n.bn.bias.normal_()
x=torch.randn(4,2,9,11)
with torch.no_grad(): shp=n.ap(n.mp(n.b(torch.relu(n.bn(n.a(x)))))).shape
print(shp)
torch.onnx.export(n,x,'small.onnx',input_names=['x'],output_names=['logits'],dynamic_axes={'x':{0:'n'}},opset_version=17,dynamo=False,training=torch.onnx.TrainingMode.PRESERVE,do_constant_folding=False)
m=onnx.load('small.onnx'); print([k.op_type for k in m.graph.node], os.path.getsize('small.onnx'))
n=n.double(); xd=x.double()
J=torch.autograd.functional.jacobian(lambda z:n.feat(z).sum(0),xd)
from safetensors.torch import save_file
save_file({'x':x,'features':n.feat(xd).detach(),'gc':J.pow(2).flatten(2).sum((0,2))},'small.safetensors'); print(J.pow(2).flatten(2).sum((0,2)))
