// What the API server and the KubeRay operator say of RayJobs, and which pods the operator makes of them, without either running.
//
//	rayjob path/to/ray.io_rayjobs.yaml < rayjobs.json > verdicts.json
//
// Reads a JSON array of RayJobs and writes an array of verdicts in their order, each with the RayJob as KubeRay writes it back. The checks are the originals: pruning, schema and CEL of
// k8s.io/apiextensions-apiserver against KubeRay's CRD, KubeRay's own validation and pod builders, and the *restricted* Pod Security Standard
// of k8s.io/pod-security-admission over every pod. Knows nothing of the chart.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	rayv1 "github.com/ray-project/kuberay/ray-operator/apis/ray/v1"
	"github.com/ray-project/kuberay/ray-operator/controllers/ray/common"
	"github.com/ray-project/kuberay/ray-operator/controllers/ray/utils"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// Verdict is what is wrong with one RayJob, and its pods: head, one worker a group, submitter.
type Verdict struct {
	// Unknown fields, which the API server would drop; violations of the schema and of CEL rules.
	API []string `json:"api"`
	// What makes the operator mark the RayJob as failed.
	Operator []string `json:"operator"`
	// Violations of the restricted Pod Security Standard, each with its pod.
	Restricted []string `json:"restricted"`
	// The RayJob as it comes back from KubeRay's types, which every update of the operator sends to the API server.
	RoundTrip map[string]any `json:"roundTrip"`
	Pods      []corev1.Pod   `json:"pods"`
}

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: rayjob CRD.yaml < rayjobs.json"))
	}
	out := os.Stdout
	os.Stdout = os.Stderr // KubeRay prints remarks on long names
	structural, validator, err := loadCRD(os.Args[1])
	fail(err)
	checks, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	fail(err)
	var objects []map[string]any
	fail(json.NewDecoder(os.Stdin).Decode(&objects))
	verdicts := []Verdict{}
	for _, object := range objects {
		verdict := Verdict{API: checkAPI(object, structural, validator), Operator: []string{}, Restricted: []string{}}
		job := &rayv1.RayJob{}
		fail(runtime.DefaultUnstructuredConverter.FromUnstructured(object, job))
		for _, err := range []error{utils.ValidateRayJobMetadata(job.ObjectMeta), utils.ValidateRayJobSpec(job)} {
			if err != nil {
				verdict.Operator = append(verdict.Operator, err.Error())
			}
		}
		var err error
		verdict.RoundTrip, err = runtime.DefaultUnstructuredConverter.ToUnstructured(job)
		fail(err)
		if len(verdict.Operator) == 0 {
			verdict.Pods = pods(job)
		}
		level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
		for i := range verdict.Pods {
			pod := &verdict.Pods[i]
			if result := policy.AggregateCheckResults(checks.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec)); !result.Allowed {
				verdict.Restricted = append(verdict.Restricted, pod.Name+": "+result.ForbiddenDetail())
			}
		}
		verdicts = append(verdicts, verdict)
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", " ")
	fail(encoder.Encode(verdicts))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "rayjob:", err)
		os.Exit(1)
	}
}

// loadCRD gives the schema of version v1 in the two forms that the API server uses.
func loadCRD(path string) (*structuralschema.Structural, validation.SchemaValidator, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal(text, crd); err != nil {
		return nil, nil, err
	}
	for _, version := range crd.Spec.Versions {
		if version.Name != "v1" {
			continue
		}
		schema := &apiextensions.CustomResourceValidation{}
		if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(version.Schema, schema, nil); err != nil {
			return nil, nil, err
		}
		structural, err := structuralschema.NewStructural(schema.OpenAPIV3Schema)
		if err != nil {
			return nil, nil, err
		}
		validator, _, err := validation.NewSchemaValidator(schema.OpenAPIV3Schema)
		return structural, validator, err
	}
	return nil, nil, fmt.Errorf("%s: no version v1", path)
}

// checkAPI leaves in the object the defaults that the API server would have set.
func checkAPI(object map[string]any, structural *structuralschema.Structural, validator validation.SchemaValidator) []string {
	errors := []string{}
	for _, path := range pruning.PruneWithOptions(object, structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}) {
		errors = append(errors, path+": unknown field")
	}
	defaulting.Default(object, structural)
	for _, err := range validation.ValidateCustomResource(nil, object, validator) {
		errors = append(errors, err.Error())
	}
	rules := cel.NewValidator(structural, true, celconfig.PerCallLimit)
	broken, _ := rules.Validate(context.Background(), nil, structural, object, nil, celconfig.RuntimeCELCostBudget)
	for _, err := range broken {
		errors = append(errors, err.Error())
	}
	return errors
}

// pods are what the operator's controllers would create. Names are ours, so that messages can tell them apart.
func pods(job *rayv1.RayJob) []corev1.Pod {
	ctx := context.Background()
	cluster := rayv1.RayCluster{ObjectMeta: metav1.ObjectMeta{Name: utils.GenerateRayClusterName(job.Name), Namespace: job.Namespace}, Spec: *job.Spec.RayClusterSpec.DeepCopy()}
	head := &cluster.Spec.HeadGroupSpec
	if job.Spec.SubmissionMode == rayv1.SidecarMode {
		head.Template.Spec.Containers = append(head.Template.Spec.Containers, common.GetDefaultSubmitterContainer(&cluster.Spec))
		head.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	}
	address, port := utils.GenerateFQDNServiceName(ctx, cluster, cluster.Namespace), common.GetHeadPort(head.RayStartParams)
	autoscaled := utils.IsAutoscalingEnabled(&cluster.Spec)
	build := func(name string, template corev1.PodTemplateSpec, kind rayv1.RayNodeType, params map[string]string) corev1.Pod {
		pod := common.BuildPod(ctx, template, kind, params, port, autoscaled, utils.RayJobCRD, address, nil, cluster.Spec.RayVersion)
		pod.Name, pod.GenerateName = name, ""
		return pod
	}
	all := []corev1.Pod{build("head", common.DefaultHeadPodTemplate(ctx, cluster, *head, "head", port), rayv1.HeadNode, head.RayStartParams)}
	for _, group := range cluster.Spec.WorkerGroupSpecs {
		template := common.DefaultWorkerPodTemplate(ctx, cluster, group, "worker", address, port, group.GroupName, 0, 0)
		all = append(all, build("worker", template, rayv1.WorkerNode, group.RayStartParams))
	}
	if job.Spec.SubmissionMode == rayv1.K8sJobMode {
		template := common.GetSubmitterTemplate(&job.Spec, &cluster.Spec)
		pod := corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: template.ObjectMeta, Spec: template.Spec}
		pod.Name, pod.Namespace = "submitter", job.Namespace
		all = append(all, pod)
	}
	return all
}
