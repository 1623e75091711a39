package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// How long the API server may take to serve a kind that was just defined.
const established = 30 * time.Second

// apply writes the manifests of files and folders, and waits until the kinds
// among them are served.
func apply(args []string) {
	fs := flag.NewFlagSet("apply", flag.ExitOnError)
	kubeconfig := fs.String("kubeconfig", "", "kubeconfig with cluster-admin rights")
	_ = fs.Parse(args)
	cfg, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	check(err)
	cfg.QPS, cfg.Burst = 500, 1000
	client := dynamic.NewForConfigOrDie(cfg)
	kinds := restmapper.NewDeferredDiscoveryRESTMapper(
		memory.NewMemCacheClient(discovery.NewDiscoveryClientForConfigOrDie(cfg)))
	ctx, cancel := context.WithTimeout(context.Background(), established)
	defer cancel()
	for _, name := range fs.Args() {
		files := []string{name}
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			files, err = filepath.Glob(filepath.Join(name, "*.yaml"))
			check(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			check(err)
			documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
			for {
				object := &unstructured.Unstructured{}
				err := documents.Decode(&object.Object)
				if errors.Is(err, io.EOF) {
					break
				}
				check(err)
				if len(object.Object) > 0 {
					check(applyOne(ctx, client, kinds, object))
				}
			}
		}
	}
}

func applyOne(ctx context.Context, client dynamic.Interface, kinds *restmapper.DeferredDiscoveryRESTMapper,
	object *unstructured.Unstructured) error {
	kind := object.GroupVersionKind()
	mapping, err := kinds.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return err
	}
	var resource dynamic.ResourceInterface = client.Resource(mapping.Resource)
	if mapping.Scope.Name() == "namespace" {
		namespace := object.GetNamespace()
		if namespace == "" {
			namespace = "default"
		}
		resource = client.Resource(mapping.Resource).Namespace(namespace)
	}
	body, err := object.MarshalJSON()
	if err != nil {
		return err
	}
	force := true
	options := metav1.PatchOptions{FieldManager: "podlet", Force: &force}
	if _, err := resource.Patch(ctx, object.GetName(), types.ApplyPatchType, body, options); err != nil {
		return fmt.Errorf("%s %s: %w", kind.Kind, object.GetName(), err)
	}
	if kind.Kind != "CustomResourceDefinition" {
		return nil
	}
	for !isEstablished(ctx, resource, object.GetName()) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not served within %v", object.GetName(), established)
		case <-time.After(50 * time.Millisecond):
		}
	}
	kinds.Reset()
	return nil
}

func isEstablished(ctx context.Context, resource dynamic.ResourceInterface, name string) bool {
	definition, err := resource.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return false
	}
	conditions, _, _ := unstructured.NestedSlice(definition.Object, "status", "conditions")
	for _, each := range conditions {
		condition, _ := each.(map[string]any)
		if condition["type"] == "Established" && condition["status"] == "True" {
			return true
		}
	}
	return false
}
