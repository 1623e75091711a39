// podlet stands in, in one process, for everything that a real Kubernetes API
// server lacks when it runs alone: the scheduler, one node with its kubelet,
// the service proxy, a load balancer and the cluster DNS. Containers are local
// programs, found by image name in a table; every Pod has its own network
// namespace. It must run as root of a private network, mount and PID namespace
// (tests/conformance/run.sh makes one): it writes firewall rules and kernel settings.
//
//	podlet run -kubeconfig F -images F -dir D ...   the stand-in itself
//	podlet pause                                    holds a Pod's network namespace
//	podlet init SPEC                                becomes a container
//	podlet whoami                                   a DNS backend for tests, also by the name whoami
//	podlet apply -kubeconfig F FILE...              writes manifests to the API server
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

type podlet struct {
	kube     kubernetes.Interface
	inf      informers.SharedInformerFactory
	images   []image
	dir      string // volumes, container specs and logs, one folder each
	node     string
	nodeIP   string
	domain   string
	keep     []string // host folders that stay visible in containers, writable
	path     string   // PATH in containers
	maxGrace time.Duration

	mu      sync.Mutex
	workers map[types.UID]*worker
	nextIP  netip.Addr
}

// image maps image names to a program. The name is matched without tag and
// digest; "*" matches within one path element, as in path.Match.
type image struct {
	pattern    string
	entrypoint []string
}

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	cmd := ""
	if filepath.Base(os.Args[0]) == "whoami" {
		// An image has no default arguments beside those of its Pod.
		cmd = "whoami"
	} else if len(os.Args) > 1 {
		cmd = os.Args[1]
	}
	switch cmd {
	case "run":
		run(os.Args[2:])
	case "pause":
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM, syscall.SIGINT)
		<-c
	case "init":
		containerInit(os.Args[2])
	case "whoami":
		serveWhoami()
	case "apply":
		apply(os.Args[2:])
	default:
		fmt.Fprintln(os.Stderr, "usage: podlet run|pause|init|whoami|apply")
		os.Exit(2)
	}
}

func run(args []string) {
	fs := flag.NewFlagSet("run", flag.ExitOnError)
	kubeconfig := fs.String("kubeconfig", "", "kubeconfig with cluster-admin rights")
	imagesFile := fs.String("images", "", "table: IMAGE-PATTERN PROGRAM [ARG...] per line")
	dir := fs.String("dir", "", "folder for volumes, container specs and logs")
	nodeIP := fs.String("node-ip", "10.0.0.1", "the node's address; must be up on lo already")
	podNet := fs.String("pod-net", "10.244.0.0/16", "Pod addresses")
	serviceNet := fs.String("service-net", "10.96.0.0/16", "cluster addresses of Services")
	lbNet := fs.String("lb-net", "172.30.0.0/24", "addresses that load balancers and Gateways may use")
	lbRange := fs.String("lb-range", "172.30.0.10-172.30.0.99", "part of -lb-net given to LoadBalancer Services")
	domain := fs.String("cluster-domain", "cluster.local", "DNS suffix")
	keep := fs.String("keep", "", "more host folders to show in containers, writable; comma-separated")
	binPath := fs.String("path", "", "folders put first in the PATH of containers; colon-separated")
	maxGrace := fs.Duration("max-grace", 10*time.Second, "upper limit for a Pod's termination grace period")
	_ = fs.Parse(args)

	cfg, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	check(err)
	cfg.QPS, cfg.Burst = 500, 1000
	p := &podlet{
		kube: kubernetes.NewForConfigOrDie(cfg), node: "node-1", nodeIP: *nodeIP,
		domain: *domain, path: *binPath, maxGrace: *maxGrace,
		workers: map[types.UID]*worker{},
		nextIP:  netip.MustParsePrefix(*podNet).Addr().Next(),
	}
	p.dir, err = filepath.Abs(*dir)
	check(err)
	check(os.MkdirAll(p.dir, 0o755))
	p.images, err = readImages(*imagesFile)
	check(err)
	p.keep = []string{p.dir}
	for _, d := range append(strings.Split(*keep, ","), strings.Split(*binPath, ":")...) {
		if d != "" {
			p.keep = append(p.keep, d)
		}
	}
	p.inf = informers.NewSharedInformerFactory(p.kube, 0)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	check(p.setupNetwork(*serviceNet, *lbNet))
	check(p.serveLogs())
	check(p.registerNode(ctx))
	proxy := newServiceProxy(p, *lbRange)
	p.watchPods(ctx)
	// Volumes are filled from these caches.
	p.inf.Core().V1().ConfigMaps().Informer()
	p.inf.Core().V1().Secrets().Informer()
	p.inf.Start(ctx.Done())
	p.inf.WaitForCacheSync(ctx.Done())
	go proxy.run(ctx)
	check(p.startDNS(ctx))
	log.Printf("podlet: ready")
	check(os.WriteFile(filepath.Join(p.dir, "ready"), nil, 0o644))
	<-ctx.Done() // Pods die with us: they are children in our PID namespace
}

func check(err error) {
	if err != nil {
		log.Fatalf("podlet: %v", err)
	}
}

// sh runs a command and returns its output in the error.
func sh(stdin string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

func readImages(file string) ([]image, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []image
	for _, line := range strings.Split(string(data), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if f := strings.Fields(os.ExpandEnv(line)); len(f) > 1 {
			out = append(out, image{f[0], f[1:]})
		}
	}
	return out, nil
}

func (p *podlet) findImage(name string) (*image, error) {
	base, _, _ := strings.Cut(name, "@")
	if i := strings.LastIndex(base, ":"); i > strings.LastIndex(base, "/") {
		base = base[:i]
	}
	for i := range p.images {
		if ok, _ := path.Match(p.images[i].pattern, base); ok {
			return &p.images[i], nil
		}
	}
	return nil, fmt.Errorf("no program for image %q in the images table", name)
}

func (p *podlet) registerNode(ctx context.Context) error {
	res := v1.ResourceList{
		v1.ResourceCPU: resource.MustParse("8"), v1.ResourceMemory: resource.MustParse("16Gi"),
		v1.ResourcePods: resource.MustParse("500"), v1.ResourceEphemeralStorage: resource.MustParse("50Gi"),
	}
	now := metav1.Now()
	node := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: p.node, Labels: map[string]string{
			"kubernetes.io/hostname": p.node, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}},
		Spec: v1.NodeSpec{PodCIDR: "10.244.0.0/16"},
	}
	node, err := p.kube.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		node, err = p.kube.CoreV1().Nodes().Get(ctx, p.node, metav1.GetOptions{})
	}
	if err != nil {
		return err
	}
	node.Status = v1.NodeStatus{
		Capacity: res, Allocatable: res,
		// The API server asks for logs at the name of a node, if it has one.
		Addresses: []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: p.nodeIP}},
		DaemonEndpoints: v1.NodeDaemonEndpoints{
			KubeletEndpoint: v1.DaemonEndpoint{Port: logsPort}},
		NodeInfo: v1.NodeSystemInfo{KubeletVersion: "v1.36.3", OperatingSystem: "linux", Architecture: "amd64", ContainerRuntimeVersion: "podlet://1"},
		Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "Podlet",
			LastHeartbeatTime: now, LastTransitionTime: now}},
	}
	_, err = p.kube.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
	return err
}

// watchPods is scheduler and kubelet loop: bind what has no node, start what is
// ours, stop what is being deleted.
func (p *podlet) watchPods(ctx context.Context) {
	handle := func(obj any) {
		pod := obj.(*v1.Pod)
		if pod.Spec.NodeName == "" {
			if len(pod.Spec.SchedulingGates) == 0 && pod.DeletionTimestamp == nil {
				go p.bind(ctx, pod)
			}
			return
		}
		if pod.Spec.NodeName != p.node {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		w := p.workers[pod.UID]
		if w == nil {
			if pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed {
				if pod.DeletionTimestamp != nil {
					go p.forget(pod)
				}
				return
			}
			w = newWorker(p, pod)
			p.workers[pod.UID] = w
			go w.run()
		}
		w.update(pod)
	}
	_, err := p.inf.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    handle,
		UpdateFunc: func(_, obj any) { handle(obj) },
		DeleteFunc: func(obj any) {
			if t, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = t.Obj
			}
			pod, ok := obj.(*v1.Pod)
			if !ok {
				return
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if w := p.workers[pod.UID]; w != nil {
				w.kill() // gone from the API: no grace
				delete(p.workers, pod.UID)
			}
		},
	})
	check(err)
}

func (p *podlet) bind(ctx context.Context, pod *v1.Pod) {
	err := p.kube.CoreV1().Pods(pod.Namespace).Bind(ctx, &v1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID},
		Target:     v1.ObjectReference{Kind: "Node", Name: p.node},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		log.Printf("bind %s/%s: %v", pod.Namespace, pod.Name, err)
	}
}

// forget removes a Pod object whose containers have ended.
func (p *podlet) forget(pod *v1.Pod) {
	zero := int64(0)
	err := p.kube.CoreV1().Pods(pod.Namespace).Delete(context.Background(), pod.Name,
		metav1.DeleteOptions{GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &pod.UID}})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		log.Printf("delete %s/%s: %v", pod.Namespace, pod.Name, err)
	}
}
