// Command netpol keeps the NetworkPolicy objects of a cluster on one node: kube-router's controller of them, without its router and its proxy.
//
// It needs iptables, ipset, and a kernel that shows bridged packets to iptables. Answers /healthz from its first pass over them on.
package main

import (
	"context"
	"flag"
	"log"
	"net/http"
	"sync"
	"time"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

var health = flag.String("health-address", "127.0.0.1:10254", "where /healthz answers")

func main() {
	config := options.NewKubeRouterConfig()
	config.EnableIPv4, config.RunFirewall = true, true
	flag.StringVar(&config.Kubeconfig, "kubeconfig", "", "who to be at the API server")
	flag.StringVar(&config.HostnameOverride, "hostname-override", "", "name of the node")
	services := flag.String("service-cluster-ip-range", "", "addresses of services")
	flag.Parse()
	config.ClusterIPCIDRs = []string{*services}
	log.Fatal(run(config))
}

func run(config *options.KubeRouterConfig) error {
	rest, err := clientcmd.BuildConfigFromFlags("", config.Kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return err
	}
	iptables, ipsets, err := netpol.NewIPTablesHandlers(config)
	if err != nil {
		return err
	}

	for { // kubelet, which starts at the same time, makes it
		if _, err := client.CoreV1().Nodes().Get(context.Background(), config.HostnameOverride, metav1.GetOptions{}); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}

	stop := make(chan struct{})
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Informer()
	namespaces := factory.Core().V1().Namespaces().Informer()
	policies := factory.Networking().V1().NetworkPolicies().Informer()
	factory.Start(stop)
	factory.WaitForCacheSync(stop)

	var ipsetLock sync.Mutex
	controller, err := netpol.NewNetworkPolicyController(client, config, pods, policies, namespaces, &ipsetLock, iptables, ipsets)
	if err != nil {
		return err
	}
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		pods: controller.PodEventHandler, namespaces: controller.NamespaceEventHandler, policies: controller.NetworkPolicyEventHandler,
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}

	heartbeats := make(chan *healthcheck.ControllerHeartbeat)
	var running sync.WaitGroup
	running.Add(1)
	go controller.Run(heartbeats, stop, &running)
	<-heartbeats
	go func() {
		for range heartbeats {
		}
	}()
	http.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	return http.ListenAndServe(*health, nil)
}
