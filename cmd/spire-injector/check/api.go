package check

import (
	"errors"

	"k8s.io/client-go/discovery"
	admissionregistrationv1 "k8s.io/client-go/kubernetes/typed/admissionregistration/v1"
	appsv1 "k8s.io/client-go/kubernetes/typed/apps/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	storagev1 "k8s.io/client-go/kubernetes/typed/storage/v1"
	"k8s.io/client-go/rest"
)

// API are the parts of the Kubernetes API that are read. Any [k8s.io/client-go/kubernetes.Interface] has them.
type API interface {
	Discovery() discovery.DiscoveryInterfaces
	CoreV1() corev1.CoreV1Interface
	AppsV1() appsv1.AppsV1Interface
	CoordinationV1() coordinationv1.CoordinationV1Interface
	AdmissionregistrationV1() admissionregistrationv1.AdmissionregistrationV1Interface
	StorageV1() storagev1.StorageV1Interface
}

// client is an [API] of an API server. A Clientset would do, and add the clients of all other kinds to the program:
// 13 MB.
type client struct {
	discovery             discovery.DiscoveryInterfaces
	core                  corev1.CoreV1Interface
	apps                  appsv1.AppsV1Interface
	coordination          coordinationv1.CoordinationV1Interface
	admissionregistration admissionregistrationv1.AdmissionregistrationV1Interface
	storage               storagev1.StorageV1Interface
}

// Connect makes an API. It calls nobody yet.
func Connect(config *rest.Config) (API, error) {
	var c client
	var errs [6]error
	c.discovery, errs[0] = discovery.NewDiscoveryClientForConfig(config)
	c.core, errs[1] = corev1.NewForConfig(config)
	c.apps, errs[2] = appsv1.NewForConfig(config)
	c.coordination, errs[3] = coordinationv1.NewForConfig(config)
	c.admissionregistration, errs[4] = admissionregistrationv1.NewForConfig(config)
	c.storage, errs[5] = storagev1.NewForConfig(config)
	return c, errors.Join(errs[:]...)
}

func (c client) Discovery() discovery.DiscoveryInterfaces               { return c.discovery }
func (c client) CoreV1() corev1.CoreV1Interface                         { return c.core }
func (c client) AppsV1() appsv1.AppsV1Interface                         { return c.apps }
func (c client) CoordinationV1() coordinationv1.CoordinationV1Interface { return c.coordination }
func (c client) AdmissionregistrationV1() admissionregistrationv1.AdmissionregistrationV1Interface {
	return c.admissionregistration
}
func (c client) StorageV1() storagev1.StorageV1Interface { return c.storage }
