"""As much of Ray as the commands call, in this process: tests without the package, and of what a cluster may do."""

from types import SimpleNamespace


class RayError(Exception):
    """Stands for Ray's own errors."""


class RayTaskError(RayError):
    """What a task raised, with its cause."""

    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause


class Ray:
    """Does a task when its result is asked for; `lost` are those numbers of them whose worker dies."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, lost=()):
        self.lost, self.asked, self.open = set(lost), 0, 0

    def init(self, **options):
        self.open += 1

    def shutdown(self):
        self.open -= 1

    def cluster_resources(self):
        return {"CPU": 2.0}

    def put(self, value):
        return value

    def remote(self, **resources):
        def task(function):
            return SimpleNamespace(remote=lambda *given, **named: lambda: function(*given, **named))

        return task

    def wait(self, waiting):
        return waiting[:1], waiting[1:]

    def get(self, task):
        self.asked += 1
        if self.asked - 1 in self.lost:
            raise RayError("The node died.\nand more")
        print("(raylet) A worker died; the task will be retried.")
        try:
            return task()
        except Exception as error:
            raise RayTaskError(error) from error
