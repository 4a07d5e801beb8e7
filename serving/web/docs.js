// validatorUrl is off: Swagger UI would send the document to a public site.
// The API key that was entered on the main page is sent with every request.
function addKey(request) {
  const key = sessionStorage.getItem("key");
  if (key) request.headers["x-api-key"] = key;
  return request;
}

SwaggerUIBundle({ url: "docs.json", dom_id: "#interface", deepLinking: true, validatorUrl: null, requestInterceptor: addKey });
